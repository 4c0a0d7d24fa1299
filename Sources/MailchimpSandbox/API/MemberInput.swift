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
    /// Interests and marketing permissions by their ids, yes or no; what is not named stays as it is.
    var interests: [(id: String, isOn: Bool)] = []
    var permissions: [(id: String, isOn: Bool)] = []
    var tags: [String]?
    /// Whether the tags take the place of those that the member has.
    var replacesTags = false

    init(address: String? = nil, status: MemberStatus? = nil, merge: JSONObject? = nil) {
        self.address = address
        self.status = status
        self.merge = merge
    }

    /// Reads a body; only some calls take tags, and the others do not even look at them.
    init(_ body: JSONObject, takesTags: Bool = false) throws(Problem) {
        var reader = Reader(body: body)
        address = reader.text("email_address").map { String($0.trimming) }
        status = reader.status("status")
        statusIfNew = reader.status("status_if_new")
        merge = reader.object("merge_fields")
        emailType = reader.text("email_type")
        language = reader.text("language")
        isVIP = reader.flag("vip")
        ipSignup = reader.ip("ip_signup")
        ipOpt = reader.ip("ip_opt")
        timestampSignup = reader.instant("timestamp_signup")
        timestampOpt = reader.instant("timestamp_opt")
        interests = reader.interests()
        permissions = reader.permissions()
        if takesTags { tags = reader.tags() }
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

        mutating func ip(_ name: String) -> String? {
            guard let text = text(name), !text.isEmpty else { return nil }
            if IPAddress.isValid(text) { return text }
            errors.append((name, "This value is not a valid IP address."))
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

        mutating func interests() -> [(id: String, isOn: Bool)] {
            var choices: [(id: String, isOn: Bool)] = []
            for pair in object("interests")?.pairs ?? [] {
                if let isOn = flag(pair.value, "interests.item:\(pair.key)") { choices.append((pair.key, isOn)) }
            }
            return choices
        }

        mutating func permissions() -> [(id: String, isOn: Bool)] {
            var choices: [(id: String, isOn: Bool)] = []
            for (index, item) in (value("marketing_permissions", as: "array") { $0.array } ?? []).enumerated() {
                let path = "marketing_permissions.item:\(index)"
                guard let id = item["marketing_permission_id"]?.string else {
                    errors.append((path, "Required fields were not provided: marketing_permission_id"))
                    continue
                }
                if let isOn = flag(item["enabled"] ?? false, "\(path).enabled") { choices.append((id, isOn)) }
            }
            return choices
        }

        private mutating func flag(_ value: JSON, _ path: String) -> Bool? {
            if let isOn = value.bool { return isOn }
            errors.append((path, "Schema describes boolean, \(value.kind) found instead"))
            return nil
        }

        mutating func tags() -> [String]? {
            guard let tags = value("tags", as: "array", { $0.array }) else { return nil }
            for (index, tag) in tags.enumerated() where tag.string == nil {
                errors.append(("tags.item:\(index)", "Schema describes string, \(tag.kind) found instead"))
            }
            return tags.compactMap { $0.string.map { String($0.trimming) } }.filter { !$0.isEmpty }
        }

        private mutating func value<T>(_ name: String, as kind: String, _ read: (JSON) -> T?) -> T? {
            guard let value = body[name], value != .null else { return nil }
            if let read = read(value) { return read }
            errors.append((name, "Schema describes \(kind), \(value.kind) found instead"))
            return nil
        }
    }
}
