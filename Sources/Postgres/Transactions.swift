import CLibPQ

/// What a transaction may see of others that run beside it.
public enum IsolationLevel: String, Sendable {
    /// Each statement sees what was committed before it began.
    case readCommitted = "read committed"
    /// All statements see what was committed before the first began.
    case repeatableRead = "repeatable read"
    /// As if transactions ran one after the other; may fail with a retryable error.
    case serializable = "serializable"
}

extension Connection {
    /// Runs the body in a transaction: commits when it returns, rolls back when it throws.
    ///
    /// Inside another transaction it becomes a savepoint: a throw undoes the inner work only.
    @discardableResult
    public func transaction<Value>(
        _ level: IsolationLevel = .readCommitted, _ body: (Connection) async throws -> Value
    ) async throws -> Value {
        guard transactionDepth > 0 || !isInTransaction else {
            throw PostgresError(.usage, "a transaction was begun by a statement: use transaction for all of them")
        }
        let marks = marks(level)
        try await simple(marks.begin, cancellable: true)
        transactionDepth += 1
        defer { if transactionDepth == 0 { isUnlimited = false } }
        let value: Value
        do {
            value = try await body(self)
            // A cancelled task has not seen its work through; better no commit than one nobody counts on.
            if Task.isCancelled {
                throw PostgresError(.cancelled, "the task was cancelled before its transaction was committed")
            }
        } catch {
            transactionDepth -= 1
            await rollBack(marks.rollback)
            throw error
        }
        transactionDepth -= 1
        try await commit(marks)
        return value
    }

    private struct Marks {
        let begin: String
        let commit: String
        let rollback: String
    }

    private func marks(_ level: IsolationLevel) -> Marks {
        guard transactionDepth > 0 else {
            return Marks(begin: "begin isolation level \(level.rawValue)", commit: "commit", rollback: "rollback")
        }
        let name = "koppeling_\(transactionDepth)"
        return Marks(
            begin: "savepoint \(name)", commit: "release savepoint \(name)",
            rollback: "rollback to savepoint \(name); release savepoint \(name)")
    }

    /// Not cancellable: once sent, a commit's outcome must be known.
    private func commit(_ marks: Marks) async throws(PostgresError) {
        do throws(PostgresError) {
            let tag = try await simple(marks.commit, cancellable: false)
            // The server answers a commit of a failed transaction by rolling back, without an error.
            guard tag != "ROLLBACK" else {
                throw PostgresError(
                    .usage, "the transaction was rolled back: a statement in it failed and its error was swallowed")
            }
        } catch {
            if transactionDepth == 0, error.code == .connection {
                throw PostgresError(.commitUnknown, "\(error.message); the transaction may or may not be committed")
            }
            if isUsable, PQtransactionStatus(handle) != PQTRANS_IDLE { await rollBack(marks.rollback) }
            throw error
        }
    }

    /// Never throws: what made it necessary is the error to report, and a connection that cannot roll back is given up.
    private func rollBack(_ statement: String) async {
        guard isUsable else { return }
        do throws(PostgresError) {
            try await simple(statement, cancellable: false)
        } catch {
            markBroken()
        }
    }
}
