/// Calls that were handed in together and are made one after another, some time later.
struct Batch: Sendable {
    enum Status: String, Sendable {
        case pending, preprocessing, started, finalizing, finished
    }

    /// One of the calls.
    struct Operation: Sendable {
        let id: String
        let call: Call
    }

    let id: String
    let account: String
    let submittedAt: Int
    let submitted: ContinuousClock.Instant
    let operations: [Operation]
    /// When it is its turn; only one of an account is.
    var begins: ContinuousClock.Instant?
    /// When its last call was made.
    var ended: ContinuousClock.Instant?
    /// What each call was answered, as far as they were made.
    var results: [JSON] = []
    var errors = 0
    var completedAt: Int?
    /// What the results were packed into.
    var archive: [UInt8] = []

    var isFinished: Bool { completedAt != nil }

    /// Where it stands; the shares of its wait are a guess.
    func status(at instant: ContinuousClock.Instant) -> Status {
        if isFinished { return .finished }
        if ended != nil { return .finalizing }
        guard let begins else { return .pending }
        if instant >= begins { return .started }
        return submitted.duration(to: instant) * 2 < submitted.duration(to: begins) ? .pending : .preprocessing
    }
}

/// The batches of all accounts, and the addresses from which their results can be fetched.
struct BatchBook: Sendable {
    /// So many of an account may wait.
    static let mostPending = 500
    /// How long an address is good, and how long a batch that has finished is kept, in seconds.
    static let addressLifetime = 600
    static let lifetime = 7 * 86_400

    /// In the order of their coming.
    private(set) var all: [Batch] = []
    private var addresses: [String: (batch: String, expires: Int)] = [:]
    /// Whether the first file of results is empty, as it happens to be.
    var losesResults = false
    /// Calls the runner while the sandbox runs.
    var bell: AsyncStream<Void>.Continuation?

    mutating func add(_ batch: Batch) { all.append(batch) }

    mutating func remove(_ id: String) { all.removeAll { $0.id == id } }

    mutating func change(_ batch: Batch) {
        if let index = all.firstIndex(where: { $0.id == batch.id }) { all[index] = batch }
    }

    /// Forgets what is too old.
    mutating func prune(at now: Int) {
        all.removeAll { ($0.completedAt ?? now) + Self.lifetime <= now }
        addresses = addresses.filter { $0.value.expires > now }
    }

    mutating func open(_ token: String, to batch: String, at now: Int) {
        addresses[token] = (batch, now + Self.addressLifetime)
    }

    func archive(_ token: String, at now: Int) -> [UInt8]? {
        guard let address = addresses[token], address.expires > now else { return nil }
        return all.first { $0.id == address.batch }?.archive
    }

    /// The batch of each account whose turn it is.
    var current: [Batch] {
        var accounts: Set<String> = []
        return all.filter { !$0.isFinished && accounts.insert($0.account).inserted }
    }
}
