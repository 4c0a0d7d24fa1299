/// What the parts of a worker tell each other.
struct WorkerState: Sendable {
    enum Phase: Int, Sendable, Comparable {
        case idle
        case running
        /// Nothing new is begun.
        case stopping
        /// What runs is cancelled.
        case aborting
        case stopped

        static func < (one: Phase, other: Phase) -> Bool { one.rawValue < other.rawValue }
    }

    var phase = Phase.idle
    /// The worker's number while it is registered.
    var worker: Int64?
    /// How far each call of `consume` is beyond the worker itself.
    var consumptions: [UInt64: Phase] = [:]
    var lastConsumption: UInt64 = 0
    /// Consumers that wait to be told of work, and of which consumption they are lanes.
    var waiting: [Int64: UInt64] = [:]
    /// Those of which some is due.
    var due: Set<Int64> = []
    /// Those for which there are jobs to be run alone.
    var suspicious: Set<Int64> = []
    /// How often in a row each of those found no moment to be alone.
    var crowded: [Int64: Int] = [:]
    /// How far each consumption has come, with the queue it consumes.
    var marks: [UInt64: (queue: String, marks: Marks)] = [:]

    /// Wakes those who wait and for whom there is work, one of each consumption: whoever gets a full batch sees to it that
    /// the next one is woken.
    mutating func wake(_ consumers: Set<Int64>) {
        var woken: Set<UInt64> = []
        for consumer in consumers {
            guard let consumption = waiting[consumer], woken.insert(consumption).inserted else { continue }
            due.insert(consumer)
        }
    }

    func phase(of consumption: UInt64) -> Phase {
        max(phase, consumptions[consumption] ?? .idle)
    }

    mutating func advance(_ consumption: UInt64, to phase: Phase) {
        guard let now = consumptions[consumption] else { return }
        consumptions[consumption] = max(now, phase)
    }

    mutating func advance(to phase: Phase) {
        self.phase = max(self.phase, phase)
    }
}

/// What the one who looks for work is told.
struct Bell: Sendable {
    /// Something was enqueued that somebody waits for.
    var isRung = false
    /// A consumer has run out of work; what is being enqueued at this moment may not have seen that it waits.
    var hasNewcomer = false
}
