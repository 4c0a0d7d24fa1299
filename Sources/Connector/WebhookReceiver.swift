import FoundationEssentials
import Mailchimp
public import Postgres

/// What the webhooks' door does with a delivery: looks whether it is Mailchimp's, and stores it.
public struct WebhookReceiver: Sendable {
    /// What became of a delivery.
    public enum Answer: Sendable, Hashable {
        /// It is stored, and a worker will read what it tells of.
        case stored
        /// No instance has this address.
        case unknownAddress
        /// The webhook's deliveries are signed, and this one is not, or wrongly.
        case badSignature
    }

    private let pool: Pool
    private let vault: Vault?

    /// The receiver of a database; without a vault it takes only what comes unsigned.
    public init(pool: Pool, vault: Vault?) {
        self.pool = pool
        self.vault = vault
    }

    /// Whether an instance has this address.
    public func knows(instance: Int64, secret: String) async throws -> Bool {
        try await row(instance: instance, secret: secret) != nil
    }

    /// Stores a delivery, and has a worker look at it.
    ///
    /// - Parameters:
    ///   - fields: The form that the body is.
    ///   - body: The body as it came, which is what is signed.
    ///   - signature: The header field of the signature.
    ///   - instance: The number in the address.
    ///   - secret: The secret in the address.
    /// - Returns: what became of it.
    /// - Throws: ``ConnectorError`` when the signature cannot be checked; Mailchimp delivers again later.
    public func receive(
        _ fields: JSONText, body: some Collection<UInt8>, signature: String?, instance: Int64, secret: String
    ) async throws -> Answer {
        guard let row = try await row(instance: instance, secret: secret) else { return .unknownAddress }
        if let sealed = row.signingSecret {
            let signing = SigningSecret(try open(sealed, list: row.list))
            guard signing?.verdict(on: signature, of: body, at: row.now) == .valid else { return .badSignature }
        }
        let rows = try await pool.query(
            """
            select koppeling.receive_webhook(\(instance)::bigint, \(Vault.hash(secret))::bytea, \(fields)::jsonb)
            """)
        return try rows.scalar(as: String.self) == "stored" ? .stored : .unknownAddress
    }

    private func open(_ sealed: [UInt8], list: String) throws(ConnectorError) -> String {
        guard let vault else {
            throw ConnectorError(
                .badSetting,
                "a webhook is signed and this process has no key to check it: set KOPPELING_SECRET_KEY for it")
        }
        return try vault.open(sealed, for: Purpose.signature(list: list))
    }

    private func row(
        instance: Int64, secret: String
    ) async throws -> (signingSecret: [UInt8]?, list: String, now: Date)? {
        let rows = try await pool.query(
            """
            select webhook_secret_hash, webhook_signing_secret, list_id, koppeling.now() as now
            from koppeling.connector_instance
            where id = \(instance)::bigint
            """)
        guard let row = rows.first, Vault.matches(secret, try row.decode("webhook_secret_hash")) else { return nil }
        return (try row.decode("webhook_signing_secret"), try row.decode("list_id"), try row.decode("now"))
    }
}
