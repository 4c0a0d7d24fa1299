import CLibPQ
import IO

/// The opening of one connection, which blocks and therefore happens on a thread of its own.
///
/// The thread cannot be interrupted, but a cancelled task does not wait for it: what arrives late is closed again.
final class Opening: Sendable {
    private typealias Outcome = Result<Handle, PostgresError>

    private enum State {
        case waiting(CheckedContinuation<Outcome, Never>?)
        case abandoned
    }

    private let parameters: [(keyword: String, value: String)]
    private let state = Locked(State.waiting(nil))

    init(_ parameters: [(keyword: String, value: String)]) {
        self.parameters = parameters
    }

    /// Opens the connection; call it once.
    func handle() async throws(PostgresError) -> OpaquePointer {
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in start(continuation) }
        } onCancel: {
            abandon()
        }
        return try outcome.get().pointer
    }

    private func start(_ continuation: CheckedContinuation<Outcome, Never>) {
        let isWanted = state.withLock { state in
            guard case .waiting = state else { return false }
            state = .waiting(continuation)
            return true
        }
        guard isWanted else { return continuation.resume(returning: .failure(Self.cancelled)) }
        startThread { [self] in
            finish(Handle.open(parameters))
        }
    }

    private func finish(_ outcome: Outcome) {
        let continuation: CheckedContinuation<Outcome, Never>? = state.withLock { state in
            guard case .waiting(let continuation) = state else { return nil }
            state = .abandoned
            return continuation
        }
        if let continuation {
            continuation.resume(returning: outcome)
        } else if case .success(let handle) = outcome {
            PQfinish(handle.pointer)
        }
    }

    private func abandon() {
        let continuation: CheckedContinuation<Outcome, Never>? = state.withLock { state in
            guard case .waiting(let continuation) = state else { return nil }
            state = .abandoned
            return continuation
        }
        continuation?.resume(returning: .failure(Self.cancelled))
    }

    private static let cancelled = PostgresError(
        .cancelled, "the task was cancelled while it connected to the database")
}

/// Carries a new connection from the thread that opened it.
// Sendable because the pointer has one owner: it is made on one thread and handed over once.
private struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer

    static func open(_ parameters: [(keyword: String, value: String)]) -> Result<Handle, PostgresError> {
        let keywords = CStrings(parameters.map(\.keyword))
        let values = CStrings(parameters.map(\.value))
        guard let pointer = PQconnectdbParams(keywords.pointers, values.pointers, 1) else {
            return .failure(PostgresError(.connection, "no memory for another connection"))
        }
        guard PQstatus(pointer) == CONNECTION_OK else {
            defer { PQfinish(pointer) }
            let message = libpqMessage(pointer)
            let isPooler = message.contains("unsupported startup parameter")
            return .failure(
                PostgresError(
                    .connection, message,
                    hint: isPooler ? "this is a pooler: set KOPPELING_POOLER to transaction" : nil))
        }
        PQsetnonblocking(pointer, 1)
        PQsetNoticeProcessor(pointer, { _, _ in }, nil)
        return .success(Handle(pointer: pointer))
    }
}

/// Strings as C wants a list of them, ended by a null pointer.
private final class CStrings {
    let pointers: [UnsafePointer<CChar>?]

    init(_ strings: [String]) {
        pointers =
            strings.map { string in
                let bytes = string.utf8CString
                let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
                copy.initialize(from: Array(bytes), count: bytes.count)
                return UnsafePointer(copy)
            } + [nil]
    }

    deinit {
        for pointer in pointers { pointer?.deallocate() }
    }
}
