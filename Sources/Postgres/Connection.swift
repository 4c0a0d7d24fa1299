import CLibPQ
import IO

/// A connection to the database, used by one task at a time.
///
/// It is deliberately not `Sendable`: whoever leases it from a `Pool` passes it down and never stores it, and the compiler
/// refuses to share it between tasks. All waiting happens in the reactor, no thread is blocked.
public final class Connection {
    let handle: OpaquePointer
    let settings: ConnectionSettings
    let canceller: Canceller
    var statements = StatementCache()
    var transactionDepth = 0
    /// Whether statements may take as long as they need until the transaction ends.
    var isUnlimited = false
    /// Whether the server was asked to stop because the time for a statement was over.
    var isOverdue = false
    private var isBusy = false
    private var isBroken = false
    private var hasRefusedWrites = false
    private let wantsWrites: Bool
    /// How long the server may say nothing while it owes an answer.
    let silenceLimit: Duration?

    private init(_ handle: OpaquePointer, _ settings: ConnectionSettings) {
        self.handle = handle
        self.settings = settings
        wantsWrites = settings.wantsWrites
        silenceLimit = settings.silenceLimit
        canceller = Canceller(handle)
    }

    deinit {
        PQfinish(handle)
    }

    /// Opens a connection; tries the hosts of the URL in turn.
    ///
    /// Of several hosts the first that accepts writes is taken, so that after a failover the new primary is found.
    public static func connect(_ settings: ConnectionSettings) async throws(PostgresError) -> Connection {
        let opening = Opening(try settings.parameters())
        return Connection(try await opening.handle(), settings)
    }

    /// The number of the server process that serves this connection.
    public var processID: Int32 { PQbackendPID(handle) }

    /// The version of the server: 150004 for 15.4.
    public var serverVersion: Int { Int(PQserverVersion(handle)) }

    /// Whether a transaction is open.
    public var isInTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

    /// Whether the connection can take another statement.
    public var isUsable: Bool { !isBroken && !isBusy && PQstatus(handle) == CONNECTION_OK }

    var socket: Int32 { PQsocket(handle) }

    /// Whether its server takes no writes although they are wanted: it became a standby, or was set to read-only.
    ///
    /// The server tells with every answer, also to a statement that only reads.
    var hasWrongServer: Bool {
        guard wantsWrites, !hasRefusedWrites else { return hasRefusedWrites }
        return isOn("default_transaction_read_only") || isOn("in_hot_standby")
    }

    /// Whether the server has reported this setting to be on.
    private func isOn(_ setting: String) -> Bool {
        PQparameterStatus(handle, setting).map { String(cString: $0) == "on" } ?? false
    }

    /// Gives the connection up as lost; the pool will replace it.
    func markBroken() {
        isBroken = true
    }

    /// Gives the connection up because its server has refused a write.
    func markReadOnly() {
        isBroken = true
        hasRefusedWrites = true
    }

    /// The error for a connection that libpq reports as lost.
    func lost() -> PostgresError {
        isBroken = true
        return PostgresError(.connection, "the connection to the database was lost: \(libpqMessage(handle))")
    }

    /// Runs one exchange with the server: sends, then receives until the server is ready again.
    ///
    /// When the task is cancelled the server is asked to stop, and its answer is still awaited: the connection stays usable.
    func exchange<Value>(
        cancellable: Bool = true, _ body: () async throws(PostgresError) -> Value
    ) async throws(PostgresError) -> Value {
        guard !isBusy else {
            throw PostgresError(.usage, "the connection is in the middle of another statement: lease one for each task")
        }
        guard !isBroken, PQstatus(handle) == CONNECTION_OK else { throw lost() }
        guard cancellable else {
            isBusy = true
            defer { isBusy = false }
            return try await body()
        }
        guard !Task.isCancelled else {
            throw PostgresError(.cancelled, "the task was cancelled before the statement was sent")
        }
        isBusy = true
        isOverdue = false
        defer { isBusy = false }
        canceller.arm()
        let outcome = await withTaskCancellationHandler { () async -> Result<Value, PostgresError> in
            do throws(PostgresError) {
                return .success(try await body())
            } catch {
                return .failure(error)
            }
        } onCancel: { [canceller] in
            canceller.fire()
        }
        let settlement = await canceller.settle()
        if settlement == .gaveUp { isBroken = true }
        if case .failure(var error) = outcome, settlement != .quiet, !isOverdue, error.sqlState == "57014" {
            error.code = .cancelled
            throw error
        }
        return try outcome.get()
    }
}

/// The last message of libpq about a connection, on one line.
func libpqMessage(_ handle: OpaquePointer) -> String {
    let text = PQerrorMessage(handle).map { String(cString: $0) } ?? ""
    let lines = text.split(whereSeparator: \.isNewline).map { $0.drop { $0 == " " || $0 == "\t" } }
    return lines.isEmpty ? "no reason given" : lines.joined(separator: "; ")
}
