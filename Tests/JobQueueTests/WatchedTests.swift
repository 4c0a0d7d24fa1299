import Testing

@testable import JobQueue

@Suite struct WatchedTests {
    @Test func `a wait ends when the value is as wished, and may take from it`() async {
        let watched = Watched<Set<Int>>([])
        async let found = watched.wait { $0.remove(7) }
        watched.update { $0 = [3, 7] }
        #expect(await found == 7)
        #expect(watched.value == [3])
    }

    @Test func `of many who wait for one thing one gets it`() async {
        let watched = Watched(0)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<50 {
                group.addTask {
                    await watched.wait { value -> Bool? in
                        guard value > 0 else { return nil }
                        value -= 1
                        return true
                    } ?? false
                }
            }
            for _ in 0..<20 { watched.update { $0 += 1 } }
            var served = 0
            for await wasServed in group {
                if wasServed { served += 1 }
                if served == 20 { group.cancelAll() }
            }
            #expect(served == 20)
        }
        #expect(watched.value == 0)
    }

    @Test func `a wait ends when its task is cancelled, also when it was before it began`() async {
        let watched = Watched(0)
        let waiting = Task { await watched.wait { $0 > 0 ? true : nil } }
        waiting.cancel()
        #expect(await waiting.value == nil)
        let late = Task {
            while !Task.isCancelled { await Task.yield() }
            return await watched.wait { $0 > 0 ? true : nil }
        }
        late.cancel()
        #expect(await late.value == nil)
    }

    @Test func `a change and a cancellation may meet`() async {
        let watched = Watched(0)
        for _ in 0..<2_000 {
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask { _ = await watched.wait { $0 > 0 ? true : nil } }
                }
                group.addTask { watched.update { $0 = 1 } }
                group.cancelAll()
            }
            watched.update { $0 = 0 }
        }
    }

    @Test func `a wait ends when its time has passed`() async {
        let watched = Watched(0)
        #expect(await watched.wait(atMost: .milliseconds(5)) { $0 > 0 ? true : nil } == nil)
        watched.update { $0 = 1 }
        #expect(await watched.wait(atMost: .seconds(60)) { $0 > 0 ? true : nil } == true)
    }
}
