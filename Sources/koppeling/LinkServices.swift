import Connector
import HTTPClient
import Postgres

/// The parts that talk to Mailchimp, put together once for a command.
struct LinkServices: Sendable {
    let accounts: Accounts
    let instances: Instances
    private let http: HTTPClient

    /// - Throws: ``Failure`` when the key that seals credentials is missing, `ConnectorError` when it is malformed.
    init(_ runtime: Runtime) throws {
        let vault = try Vault(base64: try runtime.secretKey())
        // Only an API root that a person set may be without TLS: the sandbox, a test.
        let override = runtime.settings.mailchimpURL
        http = HTTPClient(connectionsPerHost: 10, allowPlaintext: override?.hasPrefix("http://") ?? false)
        accounts = Accounts(pool: runtime.pool, vault: vault, http: http, rootOverride: override)
        instances = Instances(pool: runtime.pool, accounts: accounts, vault: vault)
    }

    /// Runs the body with the services on the runtime's database, and ends them.
    static func with<Value: Sendable>(
        _ body: (Runtime, LinkServices) async throws -> Value
    ) async throws -> Value {
        try await Runtime.with { runtime in
            let services = try LinkServices(runtime)
            let result: Result<Value, any Error>
            do {
                result = .success(try await body(runtime, services))
            } catch {
                result = .failure(error)
            }
            services.shutdown()
            return try result.get()
        }
    }

    /// Ends the HTTP client and whatever it still does.
    func shutdown() { http.shutdown() }
}
