public import Postgres

/// What became of a job that was run.
public enum Outcome: Sendable, Hashable {
    /// It is done, perhaps with a result to be kept.
    case done(JSONText? = nil)
    /// It failed and is tried again, after the wait of its kind's policy unless one is given; the attempt counts.
    case retry(after: Duration? = nil, error: String)
    /// It is put off; the attempt does not count.
    case snooze(Duration)
    /// It will never work as it is: a person must act.
    case rejected(reason: String)
    /// It is no longer wanted.
    case cancelled(reason: String)

    /// Whether the job does not run again.
    var isFinal: Bool {
        switch self {
        case .done, .rejected, .cancelled: true
        case .retry, .snooze: false
        }
    }
}

/// Outcomes as the database takes them, one array a column.
struct Completion: Sendable {
    private(set) var ids: [Int64] = []
    private(set) var claims: [Int32] = []
    private(set) var outcomes: [String] = []
    private(set) var notes: [String?] = []
    private(set) var delays: [Double?] = []

    /// The longest note; the rest of a longer one helps nobody.
    private static var longestNote: Int { 8_000 }

    var isEmpty: Bool { ids.isEmpty }

    mutating func add(_ job: Job, _ outcome: Outcome) {
        switch outcome {
        // The whole of a result: cut off it would not be JSON.
        case .done(let result): append(job, "done", result?.text, nil)
        case .retry(let delay, let error): append(job, "retry", Self.note(error), delay)
        case .snooze(let delay): append(job, "snooze", nil, delay)
        case .rejected(let reason): append(job, "rejected", Self.note(reason), nil)
        case .cancelled(let reason): append(job, "cancelled", Self.note(reason), nil)
        }
    }

    /// The job goes back as it was: it was not begun, or not finished through no fault of its own.
    mutating func addReleased(_ job: Job, reason: String) {
        append(job, "released", reason, nil)
    }

    private mutating func append(_ job: Job, _ outcome: String, _ note: String?, _ delay: Duration?) {
        ids.append(job.id)
        claims.append(job.claim)
        outcomes.append(outcome)
        notes.append(note)
        delays.append(delay.map { max(0, $0 / .seconds(1)) })
    }

    private static func note(_ text: String) -> String {
        // The database's text cannot hold this one character.
        String(text.unicodeScalars.lazy.filter { $0 != "\0" }.prefix(longestNote).map(Character.init))
    }
}
