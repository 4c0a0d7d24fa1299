/// What a call says about a member, with its types checked.
struct MemberInput: Sendable {
    var address: String?
    var status: MemberStatus?
    var statusIfNew: MemberStatus?
    var merge: JSONObject?
    var emailType: String?
    var language: String?
    var isVIP: Bool?
    var ipSignup: String?
    var ipOpt: String?
    var timestampSignup: Int?
    var timestampOpt: Int?

    init(address: String? = nil, status: MemberStatus? = nil, merge: JSONObject? = nil) {
        self.address = address
        self.status = status
        self.merge = merge
    }

    init(_ body: JSONObject) throws(Problem) {
        var reader = Reader(body: body)
        address = reader.text("email_address").map { String($0.trimming) }
        status = reader.status("status")
        statusIfNew = reader.status("status_if_new")
        merge = reader.object("merge_fields")
        emailType = reader.text("email_type")
        language = reader.text("language")
        isVIP = reader.flag("vip")
        ipSignup = reader.text("ip_signup")
        ipOpt = reader.text("ip_opt")
        timestampSignup = reader.instant("timestamp_signup")
        timestampOpt = reader.instant("timestamp_opt")
        reader.checkTags()
        if !reader.errors.isEmpty { throw .invalid(reader.errors) }
    }

    /// Collects every fault of a body, since the API names them all at once.
    private struct Reader {
        let body: JSONObject
        var errors: [(field: String, message: String)] = []

        mutating func text(_ name: String) -> String? { value(name, as: "string") { $0.string } }
        mutating func flag(_ name: String) -> Bool? { value(name, as: "boolean") { $0.bool } }

        mutating func object(_ name: String) -> JSONObject? {
            // An empty PHP array is an empty object to the API.
            value(name, as: "object") { $0 == [] ? JSONObject() : $0.object }
        }

        mutating func status(_ name: String) -> MemberStatus? {
            guard let text = text(name) else { return nil }
            if let status = MemberStatus(rawValue: text), MemberStatus.settable.contains(status) { return status }
            let accepted = MemberStatus.settable.map(\.rawValue).joined(separator: ", ")
            errors.append((name, "Data presented is not one of the accepted values: \(accepted)."))
            return nil
        }

        mutating func instant(_ name: String) -> Int? {
            guard let text = text(name), !text.isEmpty else { return nil }
            guard let milliseconds = Timestamp.milliseconds(text) else {
                errors.append((name, "This value is not a valid datetime."))
                return nil
            }
            return milliseconds / 1000
        }

        mutating func checkTags() {
            guard let tags = body["tags"] else { return }
            guard let values = tags.array else {
                errors.append(("tags", "Schema describes array, \(tags.kind) found instead"))
                return
            }
            for (index, tag) in values.enumerated() where tag.string == nil {
                errors.append(("tags.item:\(index)", "Schema describes string, \(tag.kind) found instead"))
            }
        }

        private mutating func value<T>(_ name: String, as kind: String, _ read: (JSON) -> T?) -> T? {
            guard let value = body[name], value != .null else { return nil }
            if let read = read(value) { return read }
            errors.append((name, "Schema describes \(kind), \(value.kind) found instead"))
            return nil
        }
    }
}
