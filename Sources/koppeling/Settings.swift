import Configuration
import Connector
import Logging
import Postgres

/// The settings of the program, from environment variables; an empty one counts as not set.
///
/// | variable | meaning | default |
/// |---|---|---|
/// | `DATABASE_URL` | the PostgreSQL database, as libpq understands it | a private one in `KOPPELING_HOME` |
/// | `KOPPELING_POOLER` | what stands before the database: `none`, or `transaction` for PgBouncer in transaction mode | `none` |
/// | `KOPPELING_DIRECT_DATABASE_URL` | the database past the pooler, to listen and to migrate | `DATABASE_URL`; with a pooler workers only look |
/// | `KOPPELING_HOME` | the folder of the private database and its key | `.koppeling` |
/// | `KOPPELING_SECRET_KEY` | 32 bytes in base64; seals the stored credentials | none; with the private database one is made |
/// | `KOPPELING_SECRET_KEY_PREVIOUS` | keys that still open what they sealed, between commas, while the key is replaced | none |
/// | `KOPPELING_ENVIRONMENT` | `production` or `training` | `production` |
/// | `KOPPELING_LISTEN` | address and port of the service center | `127.0.0.1:8080` |
/// | `KOPPELING_METRICS_LISTEN` | address and port where `koppeling work` shows its figures and its health | none |
/// | `KOPPELING_PUBLIC_URL` | where the service center is reached from outside | none |
/// | `KOPPELING_CONTACT` | an address or page by which Mailchimp can find those who run this | `KOPPELING_PUBLIC_URL` |
/// | `KOPPELING_MAILCHIMP_URL` | an API root for every account, such as that of the stand-in | Mailchimp's |
/// | `MAILCHIMP_CLIENT_ID`, `MAILCHIMP_CLIENT_SECRET` | the app that is registered with Mailchimp, for OAuth2 | none |
/// | `KOPPELING_SQL` | the folder of the migration files | found beside the program |
/// | `LOG_LEVEL` | `trace`, `debug`, `info`, `notice`, `warning`, `error` or `critical` | `info` |
struct Settings: Sendable {
    var databaseURL: String?
    var pooler: ConnectionSettings.Pooler
    var directDatabaseURL: String?
    var home: String
    var secretKey: String?
    var previousSecretKeys: String?
    var environment: Deployment.Environment
    var listen: ListenAddress
    var metricsListen: ListenAddress?
    var publicURL: String?
    var contact: String?
    var mailchimpURL: String?
    var clientID: String?
    var clientSecret: String?
    var logLevel: Logger.Level

    /// The settings of this process.
    static func read() throws(Failure) -> Settings {
        try Settings(reader: ConfigReader(provider: EnvironmentVariablesProvider()))
    }

    /// The settings that the reader has.
    init(reader: ConfigReader) throws(Failure) {
        func text(_ key: ConfigKey, isSecret: Bool = false) -> String? {
            reader.string(forKey: key, isSecret: isSecret).flatMap { $0.isEmpty ? nil : $0 }
        }
        databaseURL = text("database.url", isSecret: true)
        directDatabaseURL = text("koppeling.direct.database.url", isSecret: true)
        home = text("koppeling.home") ?? ".koppeling"
        secretKey = text("koppeling.secret.key", isSecret: true)
        previousSecretKeys = text("koppeling.secret.key.previous", isSecret: true)
        clientID = text("mailchimp.client.id")
        clientSecret = text("mailchimp.client.secret", isSecret: true)
        publicURL = try Self.url(text("koppeling.public.url"), "KOPPELING_PUBLIC_URL")
        contact = text("koppeling.contact") ?? publicURL
        mailchimpURL = try Self.url(text("koppeling.mailchimp.url"), "KOPPELING_MAILCHIMP_URL")

        let pooler = text("koppeling.pooler") ?? "none"
        guard let known = ConnectionSettings.Pooler(rawValue: pooler) else {
            throw Failure(
                "KOPPELING_POOLER is \"\(pooler)\": set it to transaction when DATABASE_URL leads to a pooler in "
                    + "transaction mode, else to none.", code: 2)
        }
        self.pooler = known
        if databaseURL == nil, known != .none || directDatabaseURL != nil {
            throw Failure(
                "KOPPELING_POOLER and KOPPELING_DIRECT_DATABASE_URL go with DATABASE_URL, which is not set: set it to "
                    + "the pooler's address.", code: 2)
        }

        let environment = text("koppeling.environment") ?? "production"
        guard let known = Deployment.Environment(rawValue: environment) else {
            throw Failure("KOPPELING_ENVIRONMENT is \"\(environment)\": set it to production or training.", code: 2)
        }
        self.environment = known

        listen = try Self.address(text("koppeling.listen") ?? "127.0.0.1:8080", "KOPPELING_LISTEN")
        metricsListen = try text("koppeling.metrics.listen").map { text throws(Failure) in
            try Self.address(text, "KOPPELING_METRICS_LISTEN")
        }

        let level = text("log.level") ?? "info"
        guard let logLevel = Logger.Level(rawValue: level.lowercased()) else {
            let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw Failure("LOG_LEVEL is \"\(level)\": set it to one of \(levels).", code: 2)
        }
        self.logLevel = logLevel
    }

    private static func address(_ text: String, _ name: String) throws(Failure) -> ListenAddress {
        guard let address = ListenAddress(text) else {
            throw Failure("\(name) is \"\(text)\": write an address and a port, such as 127.0.0.1:8080.", code: 2)
        }
        return address
    }

    private static func url(_ text: String?, _ name: String) throws(Failure) -> String? {
        guard var text else { return nil }
        guard text.hasPrefix("https://") || text.hasPrefix("http://") else {
            throw Failure(
                "\(name) is \"\(text)\": write a whole address, such as https://koppeling.example.org.", code: 2)
        }
        while text.hasSuffix("/") { text.removeLast() }
        return text
    }
}

/// An address and a port to listen on.
struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
    var host: String
    var port: Int

    /// Reads `host:port`, `[IPv6]:port` or only a port; nil when it is none of these.
    init?(_ text: String) {
        let colon = text.lastIndex(of: ":")
        let port = colon.map { text[text.index(after: $0)...] } ?? text[...]
        var host = colon.map { text[..<$0] } ?? "127.0.0.1"
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard let number = Int(port), (0...65_535).contains(number), !host.isEmpty else { return nil }
        self.host = String(host)
        self.port = number
    }

    /// As it was written.
    var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
