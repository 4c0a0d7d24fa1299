import Postgres

/// The key of the ledger of erasures: made once, kept sealed, and never replaced, or nobody erased would be known again.
struct ErasureKey: Sendable {
    let pool: Pool
    let vault: Vault

    /// The key, made when there is none.
    ///
    /// - Throws: ``ConnectorError`` when it was sealed with a key that is not known here.
    func bytes() async throws -> [UInt8] {
        if let key = try await existing() { return key }
        let sealed = try vault.seal(Vault.makeSecret(), for: Purpose.erasures)
        try await pool.execute(
            "insert into koppeling.erasure_key (sealed) values (\(sealed)::bytea) on conflict do nothing")
        // Another process may have been first: its key counts.
        return try open(try await stored() ?? sealed)
    }

    /// The key, or nil when nobody was erased yet.
    func existing() async throws -> [UInt8]? {
        try await stored().map { sealed in try open(sealed) }
    }

    private func stored() async throws -> [UInt8]? {
        try await pool.query("select sealed from koppeling.erasure_key").first?.decode("sealed")
    }

    private func open(_ sealed: [UInt8]) throws(ConnectorError) -> [UInt8] {
        Array(try vault.open(sealed, for: Purpose.erasures).utf8)
    }
}
