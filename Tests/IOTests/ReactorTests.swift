import Glibc
import IO
import TestSupport
import Testing

@Suite("The reactor") struct ReactorTests {
    @Test("wakes who waits to read when something was written") func readable() async throws {
        let pipe = try Pipe()
        async let wake = Reactor.shared.wait(for: .read, of: pipe.reader)
        pipe.put()
        #expect(await wake == .ready(.read))
    }

    @Test("wakes who waits to write at once when there is room") func writable() async throws {
        let pipe = try Pipe()
        #expect(await Reactor.shared.either(pipe.writer) == .write)
    }

    @Test("wakes who waits to read when the other side hangs up") func hangUp() async throws {
        let pipe = try Pipe()
        async let wake = Reactor.shared.wait(for: .read, of: pipe.reader)
        pipe.hangUp()
        #expect(await wake != .timedOut)
    }

    @Test("wakes at the deadline, the earliest first") func deadlines() async throws {
        let pipes = try (0..<3).map { _ in try Pipe() }
        let start = ContinuousClock.now
        let order = await withTaskGroup(of: Int.self) { group in
            for (index, time) in [60, 20, 40].enumerated() {
                group.addTask {
                    let deadline = start + .milliseconds(time)
                    #expect(
                        await Reactor.shared.wait(for: .read, of: pipes[index].reader, until: deadline) == .timedOut)
                    #expect(deadline <= .now)
                    return index
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(order.count == 3)
    }

    @Test("ends a wait whose task is cancelled, before or after it began") func cancellation() async throws {
        for _ in 0..<200 {
            let pipe = try Pipe()
            let task = Task { await Reactor.shared.cancellableWait(for: .read, of: pipe.reader) }
            await Task.yield()
            task.cancel()
            #expect(await task.value == .cancelled)
            // The descriptor can be waited for again.
            pipe.put()
            #expect(await Reactor.shared.wait(for: .read, of: pipe.reader) == .ready(.read))
        }
    }

    @Test("takes descriptors whose numbers are used again and again") func reuse() async throws {
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<200 {
                        guard let pipe = try? Pipe() else { continue }
                        async let wake: Void = Reactor.shared.readable(pipe.reader)
                        pipe.put()
                        await wake
                    }
                }
            }
        }
    }
}

@Suite("A blocking call") struct BlockingTests {
    @Test("brings its value or its own error back") func outcome() async {
        struct Failure: Error {}
        #expect(await blocking { 42 } == 42)
        await #expect(throws: Failure.self) { try await blocking { () throws(Failure) in throw Failure() } }
    }

    @Test("holds nobody else up") func heartbeat() async throws {
        // In a process of its own: the other tests of this one are busy on the same threads.
        await #expect(processExitsWith: .success) {
            let ticks = await withTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        await blocking { _ = usleep(500_000) }
                        return 0
                    }
                }
                group.addTask {
                    var ticks = 0
                    while (try? await Task.sleep(for: .milliseconds(10))) != nil { ticks += 1 }
                    return ticks
                }
                for _ in 0..<8 { _ = await group.next() }
                group.cancelAll()
                return await group.next() ?? 0
            }
            exit(ticks >= 15 ? EXIT_SUCCESS : EXIT_FAILURE)
        }
    }
}

/// Two ends of a pipe, closed with the last user.
private final class Pipe: Sendable {
    let reader: Int32
    let writer: Int32
    private let isOpen = Locked(true)

    init() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        hangUp()
        close(reader)
    }

    func put() {
        var byte: UInt8 = 1
        _ = write(writer, &byte, 1)
    }

    func hangUp() {
        let wasOpen = isOpen.withLock { isOpen in
            defer { isOpen = false }
            return isOpen
        }
        if wasOpen { close(writer) }
    }
}
