import CLibPQ
import IO

extension Connection {
    /// Runs one statement and returns its rows.
    @discardableResult
    public func query(_ query: Query) async throws(PostgresError) -> Rows {
        let key = StatementCache.Key(sql: query.sql, types: query.parameters.types)
        guard settings.pooler == .none, PQtransactionStatus(handle) != PQTRANS_INERROR else {
            return try await run(query, as: nil)
        }
        guard let name = statements[key] else {
            return try await run(query, as: try await prepare(key))
        }
        do throws(PostgresError) {
            return try await run(query, as: name)
        } catch {
            // Its result type changed under it, or somebody deallocated it. The statement itself has done nothing.
            guard error.sqlState == "0A000" || error.sqlState == "26000" else { throw error }
            statements.forget(key)
            guard !isInTransaction else {
                var stale = error
                stale.isStalePlan = true
                throw stale
            }
            return try await run(query, as: try await prepare(key))
        }
    }

    /// Runs one statement and says how many rows it changed or returned.
    @discardableResult
    public func execute(_ query: Query) async throws(PostgresError) -> Int {
        try await self.query(query).affected
    }

    /// Runs several statements, separated by semicolons and without parameters, as one transaction unless they say otherwise.
    public func script(_ sql: String) async throws(PostgresError) {
        try await simple(sql, cancellable: true)
    }

    /// Runs statements and returns the tag of the last, such as `COMMIT`.
    @discardableResult
    func simple(_ sql: String, cancellable: Bool) async throws(PostgresError) -> String {
        let result = try await exchange(cancellable: cancellable) { () throws(PostgresError) in
            guard PQsendQuery(handle, sql) == 1 else { throw refusal() }
            return try await receive()
        }
        return String(cString: PQcmdStatus(result.pointer))
    }

    private func run(_ query: Query, as name: String?) async throws(PostgresError) -> Rows {
        let result = try await exchange { () throws(PostgresError) in
            let parameters = query.parameters
            let count = Int32(clamping: parameters.count)
            let formats = [Int32](repeating: 1, count: parameters.count)
            let status = parameters.withPointers { values in
                if let name {
                    PQsendQueryPrepared(handle, name, count, values, parameters.lengths, formats, 1)
                } else {
                    PQsendQueryParams(
                        handle, query.sql, count, parameters.types, values, parameters.lengths, formats, 1)
                }
            }
            guard status == 1 else { throw refusal() }
            return try await receive()
        }
        return Rows(result.take())
    }

    private func prepare(_ key: StatementCache.Key) async throws(PostgresError) -> String {
        if statements.isFull {
            try await simple("deallocate all", cancellable: true)
            statements.forgetAll()
        }
        let name = statements.newName()
        _ = try await exchange { () throws(PostgresError) in
            guard PQsendPrepare(handle, name, key.sql, Int32(clamping: key.types.count), key.types) == 1 else {
                throw refusal()
            }
            return try await receive()
        }
        statements.insert(key, name)
        return name
    }

    /// The error when libpq would not send: the connection is lost, or the call was wrong (too many parameters).
    func refusal() -> PostgresError {
        PQstatus(handle) == CONNECTION_OK ? PostgresError(.usage, libpqMessage(handle)) : lost()
    }

    /// Sends what libpq holds for the server; reads meanwhile, or both sides could wait for the other to read.
    func flush() async throws(PostgresError) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                if try await ready(for: [.read, .write]).contains(.read), PQconsumeInput(handle) == 0 { throw lost() }
            default: throw lost()
            }
        }
    }

    /// Receives all results up to the server's being ready again; the last one, or the first error.
    func receive() async throws(PostgresError) -> ResultBox {
        try await flush()
        var last: ResultBox?
        var failure: PostgresError?
        while let result = try await nextResult() {
            switch PQresultStatus(result.pointer) {
            case PGRES_FATAL_ERROR, PGRES_BAD_RESPONSE, PGRES_NONFATAL_ERROR:
                let error = PostgresError(result: result.pointer)
                if error.isFatal || PQstatus(handle) != CONNECTION_OK { markBroken() }
                if error.isReadOnly { markReadOnly() }
                failure = failure ?? error
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                // Without its data the COPY cannot be ended cleanly in both directions, so the connection goes.
                markBroken()
                throw PostgresError(.usage, "COPY goes through copyIn and copyOut")
            default: last = result
            }
        }
        if let failure { throw failure }
        guard let last else { throw lost() }
        return last
    }

    /// The next result, or nil when the server is ready for another statement.
    func nextResult() async throws(PostgresError) -> ResultBox? {
        while PQisBusy(handle) != 0 {
            _ = try await ready(for: .read)
            guard PQconsumeInput(handle) == 1 else {
                // The server may have said why before it hung up.
                guard let result = PQgetResult(handle) else { throw lost() }
                markBroken()
                return ResultBox(result)
            }
        }
        return PQgetResult(handle).map { ResultBox($0) }
    }
}

/// Owns a result until it is taken.
final class ResultBox {
    let pointer: OpaquePointer
    private var isTaken = false

    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
    }

    deinit {
        if !isTaken { PQclear(pointer) }
    }

    /// Hands the result over to an owner that will clear it.
    func take() -> OpaquePointer {
        isTaken = true
        return pointer
    }
}
