extension Migrator {
    /// What to do about a file that failed.
    static func advice(_ error: PostgresError) -> String {
        switch error.sqlState {
        case "42501": "migrate as the owner of the database, who may create roles"
        case "53100": "make room on the disk of the server, then run koppeling migrate again"
        default: "nothing of this file is in the database; mend what it says, then run koppeling migrate again"
        }
    }

    /// What to tell when a lock was not to be had in all the attempts: who is the likeliest to hold it.
    func failure(
        _ error: PostgresError, after attempts: Int, _ connection: Connection
    ) async throws(PostgresError) -> PostgresError {
        let oldest = try await connection.query(
            """
            select pid, coalesce(nullif(application_name, ''), usename::text, 'unnamed') as name,
                extract(epoch from clock_timestamp() - xact_start)::bigint as age
            from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null
            order by xact_start
            limit 1
            """
        ).first
        var failure = error
        failure.message += ", in none of \(attempts) attempts"
        if let oldest {
            let pid: Int32 = try oldest.decode("pid")
            let name: String = try oldest.decode("name")
            let age: Int64 = try oldest.decode("age")
            failure.message += "; the oldest open transaction is that of process \(pid) (\(name)), open for \(age) s"
        }
        failure.hint = "end the transaction that is in the way, or wait for it, then run koppeling migrate again"
        return failure
    }
}
