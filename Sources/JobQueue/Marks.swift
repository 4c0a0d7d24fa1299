import FoundationEssentials
import IO

/// How far the lanes of one consumption have come, so that a claim need not walk over what is left of jobs before it.
///
/// A mark says of a kind and a priority that every job that is simply ready and lies before it was claimed. It keeps a
/// margin for jobs that are committed a little after their time. Those that are committed later still, and those that a
/// failed claim let go, are found by a sweep: a claim without marks. Sweeps come the more seldom the longer they take.
final class Marks: Sendable {
    /// Marks as the statements take them, one array a column.
    struct Columns: Sendable {
        var kinds: [String] = []
        var priorities: [Int32] = []
        var times: [Date] = []
    }

    /// What the next claim is to do.
    struct Plan: Sendable {
        var marks = Columns()
        var isSweep = true
    }

    private struct State: Sendable {
        var marks: [String: [Int: Date]] = [:]
        var nextSweep = ContinuousClock.now
    }

    private static let margin = 0.5
    private static let sweepInterval = Duration.seconds(2)
    /// A sweep takes at most one part in so many of the time.
    private static let sweepShare = 20
    /// A sweep that is faster than this does without marks as well.
    private static let quick = Duration.milliseconds(20)
    private static let mostPriorities = 50

    private let state = Locked(State())

    /// The marks for the next claim, or none when it is time to sweep.
    func plan() -> Plan {
        state.withLock { state in
            guard !state.marks.isEmpty, state.nextSweep > .now else { return Plan() }
            return Plan(marks: Self.columns(state.marks), isSweep: false)
        }
    }

    /// The marks as they are.
    var columns: Columns { state.withLock { Self.columns($0.marks) } }

    /// How long until a sweep is due; nil when there is nothing to sweep for.
    var untilSweep: Duration? {
        state.withLock { $0.marks.isEmpty ? nil : max(.zero, $0.nextSweep - .now) }
    }

    /// Moves the marks on to what a claim brought.
    func record(_ jobs: [Job], of plan: Plan, took time: Duration) {
        state.withLock { state in
            if plan.isSweep {
                state.nextSweep = .now + max(Self.sweepInterval, time * Self.sweepShare)
                // Nothing is left before the marks, and looking there costs nothing.
                if jobs.isEmpty, time < Self.quick { state.marks = [:] }
            }
            for job in jobs {
                let time = job.runAt.addingTimeInterval(-Self.margin)
                if let mark = state.marks[job.kind]?[job.priority], mark >= time { continue }
                state.marks[job.kind, default: [:]][job.priority] = time
            }
            if state.marks.values.contains(where: { $0.count > Self.mostPriorities }) { state.marks = [:] }
        }
    }

    private static func columns(_ marks: [String: [Int: Date]]) -> Columns {
        var columns = Columns()
        for (kind, times) in marks {
            for (priority, time) in times {
                columns.kinds.append(kind)
                columns.priorities.append(Int32(clamping: priority))
                columns.times.append(time)
            }
        }
        return columns
    }
}
