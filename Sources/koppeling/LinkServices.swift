import Connector
import HTTPClient
import Mailchimp
import Postgres
import ServiceCenter

/// The parts that talk to Mailchimp, put together once for a command.
struct LinkServices: Sendable {
    let vault: Vault
    let accounts: Accounts
    let instances: Instances
    let mergeFields: MergeFields
    let tickets: AccountTickets
    let sealed: SealedValues
    private let http: HTTPClient

    /// - Throws: ``Failure`` when the key that seals credentials is missing, `ConnectorError` when it is malformed.
    init(_ runtime: Runtime) throws {
        vault = try Vault(base64: try runtime.secretKey(), previous: runtime.settings.previousSecretKeys)
        // Only an API root that a person set may be without TLS: the sandbox, a test.
        let override = runtime.settings.mailchimpURL
        http = HTTPClient(
            connectionsPerHost: 10, allowPlaintext: override?.hasPrefix("http://") ?? false,
            userAgent: UserAgent(contact: runtime.settings.contact))
        accounts = Accounts(
            pool: runtime.pool, vault: vault, http: http, rootOverride: override,
            environment: runtime.settings.environment)
        instances = Instances(pool: runtime.pool, accounts: accounts, vault: vault)
        mergeFields = MergeFields(pool: runtime.pool, accounts: accounts)
        tickets = AccountTickets(
            pool: runtime.pool, accounts: accounts, app: Self.app(runtime.settings, http), logger: runtime.logger)
        sealed = SealedValues(pool: runtime.pool, vault: vault)
    }

    /// This program as it is registered with Mailchimp; nil when a setting of it is missing.
    private static func app(_ settings: Settings, _ http: HTTPClient) -> OAuthApp? {
        guard let id = settings.clientID, let secret = settings.clientSecret, let url = settings.publicURL else {
            return nil
        }
        return OAuthApp(
            clientID: id, clientSecret: secret, redirectURI: ServiceCenter.redirectURI(publicURL: url), http: http,
            rootOverride: settings.mailchimpURL)
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
