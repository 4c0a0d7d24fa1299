extension Pool {
    /// Runs a body in a transaction whose statements may take as long as they need.
    ///
    /// For work on a whole group or a whole file at once: the limit that ends a statement gone astray does not know how
    /// many persons there are.
    @discardableResult
    public func unlimitedTransaction<Value: Sendable>(
        _ body: (Connection) async throws -> Value
    ) async throws -> Value {
        try await transaction { connection in
            try await connection.liftTimeLimit()
            return try await body(connection)
        }
    }
}
