import IO
import Testing

@Suite("A locked value") struct LockedTests {
    @Test("counts right when many threads add to it") func contention() async {
        let counter = Locked(0)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<10_000 { counter.withLock { $0 += 1 } }
                }
            }
        }
        #expect(counter.withLock { $0 } == 80_000)
    }

    @Test("is unlocked again after an error, which arrives with its type") func errors() {
        struct Failure: Error {}
        let value = Locked(1)
        #expect(throws: Failure.self) { try value.withLock { _ throws(Failure) -> Void in throw Failure() } }
        #expect(value.withLock { $0 } == 1)
    }
}
