import Postgres

/// Which deployment this is: whoever restores a dump elsewhere, or with another key, sends nothing before somebody says so.
public struct Deployment: Sendable {
    /// What a deployment is for.
    public enum Environment: String, Sendable {
        /// The real lists.
        case production
        /// Test lists and test persons: instances begin as dry runs, and addresses can be held to patterns.
        case training
    }

    private let pool: Pool
    private let vault: Vault
    private let environment: Environment

    init(pool: Pool, vault: Vault, environment: Environment) {
        self.pool = pool
        self.vault = vault
        self.environment = environment
    }

    /// Holds this process's key, environment and database against what was confirmed; the first look confirms it.
    ///
    /// When one differs, every instance is turned off.
    /// - Returns: what differs; nil when all is as it was confirmed.
    public func check() async throws -> String? {
        try await pool.query(
            "select koppeling.check_deployment(\(vault.marks)::text[], \(environment.rawValue)::text)"
        ).scalar()
    }

    /// What differs from what was confirmed, or did when somebody last looked; changes nothing.
    public func difference() async throws -> String? {
        try await pool.query(
            """
            select coalesce(
                nullif(koppeling.deployment_difference(\(vault.marks)::text[], \(environment.rawValue)::text), ''),
                (select changed from koppeling.deployment))
            """
        ).scalar()
    }

    /// Throws when this is not the deployment that was confirmed, and says what to do.
    func requireConfirmed() async throws {
        guard let difference = try await check() else { return }
        throw ConnectorError(
            .wrongState,
            "this is not the deployment that was confirmed (\(difference)), so every instance is off: look whether this "
                + "database may send to these lists, then run `koppeling environment confirm`")
    }

    /// Says that this is the deployment from now on; the instances stay off until they are turned on.
    public func confirm(actor: String) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.confirm_deployment(\(vault.marks)::text[], \(environment.rawValue)::text,
                    \(actor)::text)
                """)
        }
    }

    /// The patterns that addresses are held to in training, as people write them.
    public func trainingAddresses() async throws -> [String] {
        try await pool.query(
            "select array(select t.pattern from koppeling.training_address t order by t.pattern)"
        ).scalar()
    }

    /// In training only addresses of these patterns get into a list, `*` for any text; none of them: every address.
    public func setTrainingAddresses(_ patterns: [String], actor: String) async throws {
        try await pool.transaction { connection in
            try await connection.query(
                "select koppeling.set_training_addresses(\(patterns)::text[], \(actor)::text)")
        }
    }

    /// Lets a complaint or an unsubscribe hold in every linked list, whichever it was said to, or in that one only.
    ///
    /// - Returns: how many entries were carried to other lists.
    public func applyNoesToAllLists(_ all: Bool, actor: String) async throws -> Int64 {
        _ = try await check()
        return try await pool.unlimitedTransaction { connection in
            try await connection.query(
                "select koppeling.apply_noes_to_all_lists(\(all)::boolean, \(actor)::text)"
            ).scalar()
        }
    }
}
