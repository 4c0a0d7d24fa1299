/// One request as it was received and answered.
struct RequestEntry: Sendable {
    let sequence: Int
    let at: Int
    let method: String
    let path: String
    let query: String
    let route: String
    let list: String?
    /// The hash of the member's address, however the caller named him.
    let member: String?
    let account: String?
    var status = 0
    let inFlight: Int
    let bodySize: Int
    var fault: String?
    var milliseconds = 0

    var json: JSON {
        [
            "sequence": .integer(sequence), "at": .string(Timestamp.text(at)), "method": .string(method),
            "path": .string(path), "query": .string(query), "route": .string(route),
            "list": list.map { .string($0) } ?? .null,
            "member": member.map { .string($0) } ?? .null, "account": account.map { .string($0) } ?? .null,
            "status": .integer(status), "in_flight": .integer(inFlight), "body_size": .integer(bodySize),
            "fault": fault.map { .string($0) } ?? .null, "milliseconds": .integer(milliseconds),
        ]
    }
}

/// The requests received: the last ones whole, all of them counted.
struct RequestLog: Sendable {
    struct Kind: Hashable, Sendable {
        let method: String
        let route: String
        let status: Int
    }

    private(set) var entries: Ring<RequestEntry>
    private(set) var counts: [Kind: Int] = [:]
    private(set) var total = 0
    /// Those that have not been answered yet, by their number.
    private(set) var open: [Int: RequestEntry] = [:]
    private var sequence = 0

    init(capacity: Int) { entries = Ring(capacity: capacity) }

    mutating func nextSequence() -> Int {
        sequence += 1
        return sequence
    }

    mutating func begin(_ entry: RequestEntry) { open[entry.sequence] = entry }

    mutating func append(_ entry: RequestEntry) {
        open[entry.sequence] = nil
        total += 1
        counts[Kind(method: entry.method, route: entry.route, status: entry.status), default: 0] += 1
        entries.append(entry)
    }

    /// How many were refused, failed or were cut off.
    var failed: Int { counts.reduce(0) { $0 + ($1.key.status == 0 || $1.key.status >= 400 ? $1.value : 0) } }

    /// Forgets what was received; the numbering goes on.
    mutating func reset() {
        entries.removeAll()
        counts = [:]
        total = 0
    }
}
