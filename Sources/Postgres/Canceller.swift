import CLibPQ
import Glibc
import IO

/// Asks the server to stop what a connection is doing, from any thread.
///
/// The request travels over a connection of its own and blocks, so it has a thread of its own. It names the connection and
/// not the statement: `settle` therefore waits for it before the connection is used again, or it would hit the next one.
final class Canceller: Sendable {
    private enum State {
        case idle
        /// A statement runs that may be cancelled.
        case armed
        /// The request is on its way.
        case firing
        /// Somebody waits for the request to have returned.
        case awaited(CheckedContinuation<Void, Never>)
        case fired
    }

    // PQcancel may be called from any thread; the object is made once and freed in deinit.
    private nonisolated(unsafe) let request: OpaquePointer?
    private let socket: Int32
    private let state = Locked(State.idle)

    init(_ connection: OpaquePointer) {
        request = PQgetCancel(connection)
        socket = PQsocket(connection)
    }

    deinit {
        PQfreeCancel(request)
    }

    /// From here on `fire` has an effect.
    func arm() {
        state.withLock { $0 = .armed }
    }

    /// Sends the request, once, if a statement runs.
    func fire() {
        let isFirst = state.withLock { state in
            guard case .armed = state else { return false }
            state = .firing
            return true
        }
        guard isFirst else { return }
        startThread { [self] in
            send()
            let waiting: CheckedContinuation<Void, Never>? = state.withLock { state in
                defer { state = .fired }
                guard case .awaited(let continuation) = state else { return nil }
                return continuation
            }
            waiting?.resume()
        }
    }

    /// Ends the time in which `fire` has an effect and waits for a request that is under way; says whether there was one.
    func settle() async -> Bool {
        let isFiring: Bool? = state.withLock { state in
            switch state {
            case .firing: return true
            case .fired: return false
            case .idle, .armed, .awaited:
                state = .idle
                return nil
            }
        }
        guard let isFiring else { return false }
        if isFiring {
            await withCheckedContinuation { continuation in
                let hasReturned = state.withLock { state in
                    if case .fired = state { return true }
                    state = .awaited(continuation)
                    return false
                }
                if hasReturned { continuation.resume() }
            }
        }
        state.withLock { $0 = .idle }
        return true
    }

    private func send() {
        var reason = [CChar](repeating: 0, count: 256)
        guard PQcancel(request, &reason, Int32(reason.count)) == 0 else { return }
        // The server does not take the request, so its answer may never come: end the connection, which wakes the waiter.
        // The descriptor is still ours: nobody closes a connection before `settle` has returned.
        shutdown(socket, Int32(SHUT_RDWR))
    }
}
