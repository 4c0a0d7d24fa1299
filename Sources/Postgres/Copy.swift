import CLibPQ
import IO

extension Connection {
    /// Runs a `copy … from stdin` with the data that the body writes; returns the number of rows.
    ///
    /// When the body throws, the server forgets the data and the connection stays usable.
    @discardableResult
    public func copyIn(_ sql: String, _ body: (inout CopyWriter) async throws -> Void) async throws -> Int {
        let outcome: Result<Int, any Error> = try await exchange { () throws(PostgresError) in
            try await startCopy(sql, PGRES_COPY_IN)
            do {
                var writer = CopyWriter(self)
                try await body(&writer)
                try await writer.send()
            } catch {
                guard isAlive else { return .failure(error) }
                try await putCopyEnd("the program gave up")
                // The server repeats that it was told to give up; unless it had a reason of its own, ours is the error.
                let refusal = await answer()
                return .failure(refusal?.sqlState == "57014" ? error : refusal ?? error)
            }
            try await putCopyEnd(nil)
            let result = try await receive()
            return .success(Int(String(cString: PQcmdTuples(result.pointer))) ?? 0)
        }
        return try outcome.get()
    }

    /// Runs a `copy … to stdout` and passes the data on in pieces of whole rows.
    ///
    /// When the body throws, the server is asked to stop and the connection stays usable.
    public func copyOut(_ sql: String, _ body: ([UInt8]) async throws -> Void) async throws {
        let outcome: Result<Void, any Error> = try await exchange { () throws(PostgresError) in
            try await startCopy(sql, PGRES_COPY_OUT)
            var reader = CopyReader(self)
            do {
                while let piece = try await reader.next() { try await body(piece) }
            } catch {
                guard isAlive else { return .failure(error) }
                canceller.fire()
                while try await reader.next() != nil {}
                _ = await answer()
                return .failure(error)
            }
            _ = try await receive()
            return .success(())
        }
        try outcome.get()
    }

    private var isAlive: Bool { PQstatus(handle) == CONNECTION_OK }

    /// Sends the statement and sees that it is the COPY it was said to be.
    private func startCopy(_ sql: String, _ direction: ExecStatusType) async throws(PostgresError) {
        guard PQsendQuery(handle, sql) == 1 else { throw refusal() }
        try await flush()
        guard let result = try await nextResult() else { throw lost() }
        switch PQresultStatus(result.pointer) {
        case direction: return
        case PGRES_FATAL_ERROR:
            _ = await answer()
            throw PostgresError(result: result.pointer)
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            markBroken()
            throw PostgresError(.usage, "this COPY goes the other way: copyIn is for stdin, copyOut for stdout")
        default:
            _ = await answer()
            throw PostgresError(.usage, "the statement is not a COPY")
        }
    }

    /// Receives up to the server's being ready and returns the error, if there is one.
    private func answer() async -> PostgresError? {
        do throws(PostgresError) {
            while let result = try await nextResult() {
                guard PQresultStatus(result.pointer) == PGRES_FATAL_ERROR else { continue }
                let error = PostgresError(result: result.pointer)
                while try await nextResult() != nil {}
                return error
            }
            return nil
        } catch {
            return error
        }
    }

    func putCopyData(_ bytes: [UInt8]) async throws(PostgresError) {
        try await put {
            bytes.withUnsafeBytes { buffer in
                PQputCopyData(handle, buffer.bindMemory(to: CChar.self).baseAddress, Int32(clamping: buffer.count))
            }
        }
    }

    private func putCopyEnd(_ reason: String?) async throws(PostgresError) {
        try await put { PQputCopyEnd(handle, reason) }
    }

    private func put(_ attempt: () -> Int32) async throws(PostgresError) {
        while true {
            switch attempt() {
            case 1: return try await flush()
            case 0: _ = try await ready(for: .write)
            default: throw refusal()
            }
        }
    }
}
