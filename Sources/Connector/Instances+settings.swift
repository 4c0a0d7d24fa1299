import Postgres

extension Instances {
    /// What can be turned on and off at an instance; all of it is off at first.
    public enum Setting: String, Sendable {
        /// It only shows what it would do.
        case dryRun
        /// Whoever signs up again in Mailchimp after a no is let back into the group by that.
        ///
        /// Otherwise a task tells a user, to whom what tasks tell of already is left.
        case reactivateOnResubscribe
        /// Who was in the list before us stays there when he leaves the group; otherwise he is archived.
        case keepAdopted
    }

    /// Turns a setting on or off.
    public func set(_ setting: Setting, to isOn: Bool, instance name: String, actor: String? = nil) async throws {
        let instance = try await find(name)
        try await pool.transaction { connection in
            try await connection.query(
                """
                select koppeling.switch_instance(
                    \(instance.id)::bigint, \(setting.rawValue)::text, \(isOn)::boolean, \(actor)::text)
                """)
        }
    }
}
