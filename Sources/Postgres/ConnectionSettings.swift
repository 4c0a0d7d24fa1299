import CLibPQ

/// Where the database is and how to talk to it.
///
/// The description leaves the password out.
public struct ConnectionSettings: Sendable, Hashable, CustomStringConvertible {
    /// A libpq connection string or URI, perhaps with several hosts.
    ///
    /// Of several hosts the first is taken that accepts writes, unless `target_session_attrs` says otherwise.
    public var url: String
    /// The database, when it is not the one of `url`.
    public var database: String?
    /// The name that `pg_stat_activity` shows, unless `url` sets one.
    public var applicationName: String
    /// How long a host may take to answer.
    public var connectTimeout: Duration
    /// The longest a statement may run; nil for no limit.
    public var statementTimeout: Duration?
    /// The longest a statement may wait for a lock; nil for no limit.
    public var lockTimeout: Duration?
    /// The longest a transaction may stand idle before the server ends the connection; nil for no limit.
    public var idleInTransactionTimeout: Duration?
    /// What stands between this program and the server.
    public var pooler: Pooler

    /// What may stand between a program and the server.
    public enum Pooler: String, Sendable, Hashable, CaseIterable {
        /// Nothing, or something that gives each connection a server session of its own.
        case none
        /// A pooler that lends a server session for one transaction, such as PgBouncer in transaction mode.
        ///
        /// Nothing that belongs to a session is used then: no named statement, no listening, no setting beyond a
        /// transaction. The limit on statements is kept by this side.
        case transaction
    }

    /// Settings for the database at this URL or connection string.
    public init(
        url: String, applicationName: String = "koppeling", connectTimeout: Duration = .seconds(10),
        statementTimeout: Duration? = .seconds(60), lockTimeout: Duration? = nil,
        idleInTransactionTimeout: Duration? = .seconds(30), pooler: Pooler = .none
    ) {
        self.url = url
        self.applicationName = applicationName
        self.connectTimeout = connectTimeout
        self.statementTimeout = statementTimeout
        self.lockTimeout = lockTimeout
        self.idleInTransactionTimeout = idleInTransactionTimeout
        self.pooler = pooler
    }

    /// The same server, another database.
    public func with(database: String) -> ConnectionSettings {
        var copy = self
        copy.database = database
        return copy
    }

    /// Host, port, user and database, without the password.
    public var description: String {
        guard let options = try? parsed() else { return "an invalid connection string" }
        let shown = ["host", "hostaddr", "port", "user"].compactMap { key in options[key].map { "\(key)=\($0)" } }
        let name = database ?? options["dbname"]
        return (shown + (name.map { ["dbname=\($0)"] } ?? [])).joined(separator: " ")
    }

    /// A connection string with everything that `url` and `database` say, for a program that takes one.
    ///
    /// It may hold the password.
    public func connectionString() throws(PostgresError) -> String {
        var values = try parsed()
        if let database { values["dbname"] = database }
        return values.sorted { $0.key < $1.key }.map { key, value in
            var quoted = ""
            for character in value {
                if character == "\\" || character == "'" { quoted.append("\\") }
                quoted.append(character)
            }
            return "\(key)='\(quoted)'"
        }.joined(separator: " ")
    }

    /// The keywords that libpq knows, with the values that the URL gives them.
    func parsed() throws(PostgresError) -> [String: String] {
        var reason: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &reason) else {
            // libpq quotes the faulty part, which may be a password, so its text is not shown.
            PQfreemem(reason)
            throw PostgresError(
                .usage, "DATABASE_URL is not a connection string: write postgresql://user:password@host:5432/database")
        }
        defer { PQconninfoFree(options) }
        var values: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { values[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return values
    }

    /// Keywords and values in the order in which libpq is to read them: a later one wins.
    func parameters() throws(PostgresError) -> [(keyword: String, value: String)] {
        let given = try parsed()
        var list: [(keyword: String, value: String)] = [
            ("connect_timeout", String(max(2, connectTimeout.components.seconds))),
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
        ]
        if Self.hasSeveralHosts(given) { list.append(("target_session_attrs", "read-write")) }
        list += [
            ("dbname", url),
            ("fallback_application_name", applicationName),
            ("client_encoding", "UTF8"),
        ]
        if let database { list.append(("dbname", database)) }
        // A pooler that shares sessions refuses these, or would hand one client's on to the next.
        if pooler == .none { list.append(("options", options(adding: given["options"]))) }
        return list
    }

    /// Whether a connection is of use only while its server accepts writes.
    ///
    /// A pooler tells of its servers what was true when it met them first, so its word counts for nothing.
    var wantsWrites: Bool {
        guard pooler == .none, let given = try? parsed() else { return false }
        let attributes = given["target_session_attrs"] ?? (Self.hasSeveralHosts(given) ? "read-write" : "any")
        return ["read-write", "primary"].contains(attributes)
    }

    private static func hasSeveralHosts(_ given: [String: String]) -> Bool {
        ["host", "hostaddr"].contains { given[$0]?.contains(",") == true }
    }

    /// Lets the server notice that we are gone, too: what a dead client began would hold its locks for hours.
    private static let vigilance = [
        "-c tcp_keepalives_idle=30", "-c tcp_keepalives_interval=10", "-c tcp_keepalives_count=3",
        "-c tcp_user_timeout=30000", "-c client_connection_check_interval=10000",
    ]

    private func options(adding given: String?) -> String {
        var parts: [String] = []
        func limit(_ name: String, _ duration: Duration?) {
            if let duration { parts.append("-c \(name)=\(Int64(duration / .milliseconds(1)))") }
        }
        limit("statement_timeout", statementTimeout)
        limit("lock_timeout", lockTimeout)
        limit("idle_in_transaction_session_timeout", idleInTransactionTimeout)
        parts += Self.vigilance
        // Compiling our statements takes the server longer than it saves: several times as long for a large change plan.
        parts.append("-c jit=off")
        // The given ones come last, so that a setting in the URL wins.
        if let given { parts.append(given) }
        return parts.joined(separator: " ")
    }
}
