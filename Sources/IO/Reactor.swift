import CEpoll
import Glibc

/// One thread that waits for descriptors to become readable or writable and resumes the tasks that wait for them.
///
/// A descriptor has at most one waiter at a time. Readiness is a hint: callers try again and wait again in a loop, so a
/// spurious wake-up (of a descriptor number closed and reused, say) does no harm.
public final class Reactor: Sendable {
    /// What a waiter wants to know of a descriptor.
    public struct Interest: OptionSet, Sendable, Hashable {
        /// The bits of the set.
        public let rawValue: UInt8

        /// Makes a set of these bits.
        public init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// There is something to read, or the other side hung up.
        public static let read = Interest(rawValue: 1)
        /// There is room to write.
        public static let write = Interest(rawValue: 2)
    }

    /// Why a wait ended.
    public enum Wake: Sendable, Hashable {
        /// The descriptor is ready for these.
        case ready(Interest)
        /// The deadline passed.
        case timedOut
        /// The task was cancelled.
        case cancelled
    }

    /// The reactor of this process.
    public static let shared = Reactor()

    private struct Waiter {
        let id: UInt32
        let deadline: ContinuousClock.Instant?
        let continuation: CheckedContinuation<Wake, Never>
    }

    private struct State {
        var waiters: [Int32: Waiter] = [:]
        /// Waits whose task was cancelled before they stood in `waiters`.
        var cancelledEarly: Set<UInt32> = []
        var lastID: UInt32 = 0
        /// When the thread looks for passed deadlines; nil while no waiter has one.
        var alarm: ContinuousClock.Instant?
    }

    private let epoll: Int32
    private let doorbell: Int32
    private let state = Locked(State())

    private init() {
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        doorbell = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        precondition(epoll >= 0 && doorbell >= 0, "no descriptors left: raise the limit with ulimit -n")
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(u64: UInt64.max))
        epoll_ctl(epoll, EPOLL_CTL_ADD, doorbell, &event)
        startThread { self.loop() }
    }

    /// Waits until the descriptor is readable; the wait is not cut short by cancellation.
    public func readable(_ descriptor: Int32) async {
        _ = await wait(for: .read, of: descriptor)
    }

    /// Waits until the descriptor is writable; the wait is not cut short by cancellation.
    public func writable(_ descriptor: Int32) async {
        _ = await wait(for: .write, of: descriptor)
    }

    /// Waits until the descriptor is readable or writable and says which; not cut short by cancellation.
    public func either(_ descriptor: Int32) async -> Interest {
        guard case .ready(let interest) = await wait(for: [.read, .write], of: descriptor) else { return [] }
        return interest
    }

    /// Waits until the descriptor is ready or the deadline passes; not cut short by cancellation.
    public func wait(
        for interest: Interest, of descriptor: Int32, until deadline: ContinuousClock.Instant? = nil
    ) async -> Wake {
        await wait(for: interest, of: descriptor, until: deadline, as: newID())
    }

    /// Waits until the descriptor is ready, the deadline passes or the task is cancelled.
    public func cancellableWait(
        for interest: Interest, of descriptor: Int32, until deadline: ContinuousClock.Instant? = nil
    ) async -> Wake {
        let id = newID()
        let wake = await withTaskCancellationHandler {
            await wait(for: interest, of: descriptor, until: deadline, as: id)
        } onCancel: {
            cancel(descriptor, id)
        }
        state.withLock { _ = $0.cancelledEarly.remove(id) }
        return wake
    }

    private func newID() -> UInt32 {
        state.withLock { state in
            state.lastID &+= 1
            return state.lastID
        }
    }

    private func wait(
        for interest: Interest, of descriptor: Int32, until deadline: ContinuousClock.Instant?, as id: UInt32
    ) async -> Wake {
        await withCheckedContinuation { continuation in
            let waiter = Waiter(id: id, deadline: deadline, continuation: continuation)
            let isCancelled = state.withLock { state in
                if state.cancelledEarly.contains(id) { return true }
                precondition(state.waiters[descriptor] == nil, "two tasks wait for descriptor \(descriptor)")
                state.waiters[descriptor] = waiter
                if let deadline, state.alarm.map({ deadline < $0 }) ?? true {
                    state.alarm = deadline
                    ring()
                }
                // Armed while the lock is held: the thread cannot see the event before it can find the waiter.
                arm(descriptor, interest, id)
                return false
            }
            if isCancelled { continuation.resume(returning: .cancelled) }
        }
    }

    private func cancel(_ descriptor: Int32, _ id: UInt32) {
        let waiter: Waiter? = state.withLock { state in
            guard state.waiters[descriptor]?.id == id else {
                state.cancelledEarly.insert(id)
                return nil
            }
            return state.waiters.removeValue(forKey: descriptor)
        }
        waiter?.continuation.resume(returning: .cancelled)
    }

    /// Asks for one event; the id travels along, so that a late event of an earlier wait is told apart.
    private func arm(_ descriptor: Int32, _ interest: Interest, _ id: UInt32) {
        var wanted = EPOLLONESHOT.rawValue | EPOLLRDHUP.rawValue
        if interest.contains(.read) { wanted |= EPOLLIN.rawValue }
        if interest.contains(.write) { wanted |= EPOLLOUT.rawValue }
        let tag = UInt64(id) << 32 | UInt64(UInt32(bitPattern: descriptor))
        var event = epoll_event(events: wanted, data: epoll_data_t(u64: tag))
        // A closed descriptor leaves the kernel's set by itself, so only trying tells whether this one is still in it.
        if epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event) == 0 { return }
        if epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 { return }
        preconditionFailure("descriptor \(descriptor) cannot be waited for: \(String(cString: strerror(errno)))")
    }

    /// Makes the thread look at `alarm` again.
    private func ring() {
        var one: UInt64 = 1
        _ = write(doorbell, &one, MemoryLayout<UInt64>.size)
    }

    private func loop() {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        while true {
            let count = epoll_wait(epoll, &events, Int32(events.count), timeout())
            var woken: [(Waiter, Wake)] = []
            let received = events.prefix(Int(max(count, 0)))
            state.withLock { state in
                for event in received {
                    if event.data.u64 == UInt64.max {
                        silence()
                    } else if let ready = Self.take(event, from: &state) {
                        woken.append(ready)
                    }
                }
                woken += Self.takeExpired(from: &state)
            }
            for (waiter, wake) in woken { waiter.continuation.resume(returning: wake) }
        }
    }

    private func silence() {
        var rings: UInt64 = 0
        _ = read(doorbell, &rings, MemoryLayout<UInt64>.size)
    }

    /// The milliseconds until the alarm, rounded up so that the thread does not wake just before it.
    private func timeout() -> Int32 {
        guard let alarm = state.withLock({ $0.alarm }) else { return -1 }
        let rest = ContinuousClock.now.duration(to: alarm)
        guard rest > .zero else { return 0 }
        return Int32(clamping: Int64((rest / .milliseconds(1)).rounded(.up)))
    }

    private static func take(_ event: epoll_event, from state: inout State) -> (Waiter, Wake)? {
        let descriptor = Int32(bitPattern: UInt32(truncatingIfNeeded: event.data.u64))
        guard let waiter = state.waiters[descriptor], waiter.id == UInt32(event.data.u64 >> 32) else { return nil }
        state.waiters[descriptor] = nil
        let hungUp = EPOLLHUP.rawValue | EPOLLERR.rawValue | EPOLLRDHUP.rawValue
        var interest: Interest = []
        if event.events & (EPOLLIN.rawValue | hungUp) != 0 { interest.insert(.read) }
        if event.events & (EPOLLOUT.rawValue | hungUp) != 0 { interest.insert(.write) }
        return (waiter, .ready(interest))
    }

    private static func takeExpired(from state: inout State) -> [(Waiter, Wake)] {
        guard let alarm = state.alarm, alarm <= .now else { return [] }
        let now = ContinuousClock.now
        var expired: [(Waiter, Wake)] = []
        state.alarm = nil
        for (descriptor, waiter) in state.waiters {
            guard let deadline = waiter.deadline else { continue }
            if deadline <= now {
                state.waiters[descriptor] = nil
                expired.append((waiter, .timedOut))
            } else {
                state.alarm = min(deadline, state.alarm ?? deadline)
            }
        }
        return expired
    }
}
