/// A request as the sandbox sees it, free of the server's types.
struct Call: Sendable {
    var method: String
    /// The path as it came, without the query.
    let path: String
    /// The decoded parts of the path after its prefix.
    let segments: [String]
    let query: Query
    var authorization: String?
    /// The title of an error that the caller wants to see, as the real API offers for tests.
    var triggeredError: String?
    var methodOverride: String?
    let body: Body
    let remoteIP: String
    let requestID: String
    /// By which name the caller knows the sandbox.
    let host: String
    /// The account that the credentials belong to; known once the call is admitted.
    var account: Account?
    /// The user of that account who gave them.
    var user: User?

    /// What came as the body, parsed before the call takes its turn.
    struct Body: Sendable {
        enum Content: Sendable {
            case none
            case json(JSON)
            case broken
        }

        let bytes: [UInt8]
        let content: Content

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
            if bytes.isEmpty {
                content = .none
            } else if let value = try? JSON(parsing: bytes) {
                content = .json(value)
            } else {
                content = .broken
            }
        }
    }

    /// The body as a JSON object.
    func object() throws(Problem) -> JSONObject {
        switch body.content {
        case .none: return JSONObject()
        case .broken: throw Problem(400, "JSON Parse Error", "We encountered an unspecified JSON parsing error.")
        case .json(.object(let object)): return object
        case .json(let value): throw .invalid([("", "Schema describes object, \(value.kind) found instead")])
        }
    }

    /// The body as a form.
    var form: Query { Query(String(decoding: body.bytes, as: UTF8.self)) }

    /// The prefix of the Marketing API.
    static let marketing = "/3.0"
    /// The prefix of the control door.
    static let control = "/sandbox"

    static func segments(of path: some StringProtocol) -> [String] {
        path.split(separator: "/").map { PercentCoding.decode($0, plusIsSpace: false) }
    }
}

/// The parameters of a query, decoded as PHP does.
struct Query: Sendable {
    private let values: [(name: String, value: String)]

    init(_ text: String?) {
        values = (text ?? "").split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count > 1 ? PercentCoding.decode(parts[1], plusIsSpace: true) : ""
            return (PercentCoding.decode(parts[0], plusIsSpace: true), value)
        }
    }

    subscript(name: String) -> String? { values.last { $0.name == name }?.value }

    /// True for `true` and `1`; anything else is false.
    func flag(_ name: String) -> Bool {
        guard let value = self[name]?.lowercased() else { return false }
        return value == "true" || value == "1"
    }

    /// A whole number of the query within a range, or a schema error.
    func number(_ name: String, default standard: Int, in range: ClosedRange<Int>) throws(Problem) -> Int {
        guard let text = self[name] else { return standard }
        guard let value = Int(text) else { throw .invalid([(name, "Schema describes integer, string found instead")]) }
        guard range.contains(value) else {
            throw .invalid([(name, "This value should be between \(range.lowerBound) and \(range.upperBound).")])
        }
        return value
    }

    /// An instant of the query in milliseconds since 1970.
    func instant(_ name: String) throws(Problem) -> Int? {
        guard let text = self[name], !text.isEmpty else { return nil }
        guard let value = Timestamp.milliseconds(text) else {
            throw .invalid([(name, "This value is not a valid datetime.")])
        }
        return value
    }
}

/// What a call is answered.
struct Answer: Sendable {
    var status = 200
    var body: JSON?
    var headers: [(String, String)] = []
    /// How many members the answer carries or the call brought, for the latency of bulk calls and pages.
    var members = 0
    /// The kind of object in the body, for the link to its schema.
    var schema: String?
    var dashboard: String?

    static func ok(_ body: JSON, schema: String, members: Int = 0) -> Answer {
        Answer(body: body, members: members, schema: schema)
    }

    static let noContent = Answer(status: 204)
}
