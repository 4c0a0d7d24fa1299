/// A connection on its way between the pool and a task.
// Sendable because the pool holds a connection only while no task does, and hands it to one task at a time.
struct Lease: @unchecked Sendable {
    let connection: Connection
    /// Which server it leads to, counted by how often the pool has turned to another.
    let generation: Int
}

/// What a task may do when its turn comes.
enum PoolTurn: Sendable {
    case lease(Lease)
    /// Open a connection: a place is reserved.
    case open
    case wait
    case closed
}

/// Who has what; pure bookkeeping under the pool's lock.
struct PoolState: Sendable {
    typealias Waiter = CheckedContinuation<PoolTurn, Never>

    enum Next {
        case turn(Waiter, PoolTurn)
        case closed([CheckedContinuation<Void, Never>])
    }

    private(set) var idle: [Lease] = []
    /// Connections that are idle, leased or being opened.
    private(set) var open = 0
    /// Connections of an earlier one are of no more use.
    private(set) var generation = 0
    private var isClosed = false
    private var waiters: [UInt64: Waiter] = [:]
    /// In order of arrival; those who have left are skipped when their turn comes.
    private var queue: ArraySlice<UInt64> = []
    /// Those whose task was cancelled before they stood in the queue.
    private var abandoned: Set<UInt64> = []
    private var lastID: UInt64 = 0
    var closers: [CheckedContinuation<Void, Never>] = []

    var isEmpty: Bool { open == 0 }

    mutating func take(maximum: Int) -> PoolTurn {
        if isClosed { return .closed }
        // The one used last is the likeliest to be warm.
        if let lease = idle.popLast() { return .lease(lease) }
        guard open < maximum else { return .wait }
        open += 1
        return .open
    }

    mutating func newWaiterID() -> UInt64 {
        lastID += 1
        return lastID
    }

    /// Stands in the queue, unless there is an answer at once.
    mutating func enqueue(_ id: UInt64, _ waiter: Waiter, maximum: Int) -> PoolTurn? {
        if abandoned.remove(id) != nil { return .wait }
        let turn = take(maximum: maximum)
        guard case .wait = turn else { return turn }
        waiters[id] = waiter
        queue.append(id)
        return nil
    }

    mutating func abandon(_ id: UInt64) -> Waiter? {
        if let waiter = waiters.removeValue(forKey: id) { return waiter }
        abandoned.insert(id)
        return nil
    }

    /// The task is done with waiting, whatever came of it.
    mutating func forget(_ id: UInt64) {
        abandoned.remove(id)
    }

    mutating func give(_ lease: Lease?) -> Next? {
        if isClosed {
            open -= 1
            guard open == 0 else { return nil }
            defer { closers = [] }
            return .closed(closers)
        }
        while let id = queue.popFirst() {
            guard let waiter = waiters.removeValue(forKey: id) else { continue }
            return .turn(waiter, lease.map { .lease($0) } ?? .open)
        }
        if let lease { idle.append(lease) } else { open -= 1 }
        return nil
    }

    /// Turns away from the server that a connection leads to, unless that has been done; returns the idle ones.
    mutating func leave(_ lease: Lease) -> [Lease] {
        guard lease.generation == generation else { return [] }
        generation += 1
        defer { idle = [] }
        open -= idle.count
        return idle
    }

    mutating func close() -> ([Lease], [Waiter]) {
        isClosed = true
        defer {
            idle = []
            waiters = [:]
            queue = []
        }
        open -= idle.count
        return (idle, Array(waiters.values))
    }
}
