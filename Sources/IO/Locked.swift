import Glibc

// Sendable because the value is only reached inside `withLock`, and enters and leaves it as a `sending` value.
/// A value that many threads share, one at a time.
///
/// A pthread lock rather than `Mutex`: the thread sanitizer follows pthread locks on Linux, and reports hand-overs of a
/// contended `Mutex` as races that are none.
public final class Locked<Value>: @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private var value: Value

    /// Takes the value over; nobody else may keep a way to it.
    public init(_ value: sending Value) {
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        pthread_mutex_init(mutex, nil)
        self.value = value
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs the body with the value while no other thread has it; the body must be short and must not lock it again.
    public func withLock<Result, Failure: Error>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value)
    }
}
