import Connector

extension Runtime {
    /// The erasures, where there is the key that opens their ledger.
    var erasures: Erasures? {
        guard hasSecretKey, let key = try? secretKey(),
            let vault = try? Vault(base64: key, previous: settings.previousSecretKeys)
        else { return nil }
        return Erasures(pool: pool, vault: vault)
    }
}

extension PersonArguments {
    /// Runs the body with a runtime; where it fails because the person was erased, that is what is said.
    func with<Value: Sendable>(_ body: (Runtime) async throws -> Value) async throws -> Value {
        try await Runtime.with { runtime in
            do {
                return try await body(runtime)
            } catch {
                guard let told = try? await runtime.erasures?.told(source: source, id: id) else { throw error }
                throw Failure(told + ".")
            }
        }
    }
}
