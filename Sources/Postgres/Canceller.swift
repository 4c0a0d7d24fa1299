import CLibPQ
import Dispatch
import Glibc
import IO

/// Asks the server to stop what a connection is doing, from any thread.
///
/// The request travels over a connection of its own and blocks, so it has a thread of its own. It names the connection and
/// not the statement: `settle` therefore waits for it before the connection is used again, or it would hit the next one.
/// When it does not come back in time, the connection is hung up instead.
final class Canceller: Sendable {
    /// What became of a request when a statement ended.
    enum Settlement {
        /// There was none.
        case quiet
        /// It has returned and can hit nothing more.
        case returned
        /// It has not come back: the connection is not to be used again.
        case gaveUp
    }

    private enum State {
        case idle
        /// A statement runs that may be cancelled.
        case armed
        /// The request is on its way.
        case firing(Request)
        /// Somebody waits for the request to have returned.
        case awaited(Request, CheckedContinuation<Void, Never>)
        case fired
        case gaveUp
    }

    /// One request; signalled when it has returned.
    private typealias Request = DispatchSemaphore

    /// How long a request may take: a host that is gone never answers it.
    private static let patience = 5.0

    // PQcancel may be called from any thread; the object is made once and freed in deinit.
    private nonisolated(unsafe) let cancel: OpaquePointer?
    private let socket: Int32
    private let state = Locked(State.idle)

    init(_ connection: OpaquePointer) {
        cancel = PQgetCancel(connection)
        socket = PQsocket(connection)
    }

    deinit {
        PQfreeCancel(cancel)
    }

    /// From here on `fire` has an effect.
    func arm() {
        state.withLock { $0 = .armed }
    }

    /// Sends the request, once, if a statement runs.
    func fire() {
        let request = Request(value: 0)
        let isFirst = state.withLock { state in
            guard case .armed = state else { return false }
            state = .firing(request)
            return true
        }
        guard isFirst else { return }
        startThread { [self] in
            var reason = [CChar](repeating: 0, count: 256)
            let isTaken = PQcancel(cancel, &reason, Int32(reason.count)) == 1
            end(request, isTaken ? .fired : .gaveUp)
            request.signal()
        }
        startThread { [self] in
            if request.wait(timeout: .now() + Self.patience) == .timedOut { end(request, .gaveUp) }
        }
    }

    /// The first to come here says how the request ended.
    private func end(_ ended: Request, _ ending: State) {
        let waiting: CheckedContinuation<Void, Never>? = state.withLock { state in
            let waiting: CheckedContinuation<Void, Never>?
            switch state {
            case .firing(let request) where request === ended: waiting = nil
            case .awaited(let request, let continuation) where request === ended: waiting = continuation
            default: return nil
            }
            state = ending
            // The server's answer may never come, so the connection ends, which wakes whoever waits for it. The descriptor
            // is still ours: nobody closes a connection before `settle` has returned.
            if case .gaveUp = ending { shutdown(socket, Int32(SHUT_RDWR)) }
            return waiting
        }
        waiting?.resume()
    }

    /// Ends the time in which `fire` has an effect and waits for a request that is under way.
    func settle() async -> Settlement {
        let isFiring = state.withLock { state in
            if case .firing = state { return true }
            return false
        }
        if isFiring {
            await withCheckedContinuation { continuation in
                let hasEnded = state.withLock { state in
                    guard case .firing(let request) = state else { return true }
                    state = .awaited(request, continuation)
                    return false
                }
                if hasEnded { continuation.resume() }
            }
        }
        return state.withLock { state in
            switch state {
            case .gaveUp: return .gaveUp
            case .fired:
                state = .idle
                return .returned
            case .idle, .armed, .firing, .awaited:
                state = .idle
                return .quiet
            }
        }
    }
}
