import Postgres
import TestSupport
import Testing

@testable import Connector

@Suite("Sealing anew", .database)
struct SealedValuesTests {
    private let old = AccountBench.sealingKey
    private let new = AccountBench.newSealingKey

    /// One account, one instance with both of its secrets.
    private func fill(_ bench: AccountBench) async throws -> Accounts.Account {
        let account = try await bench.accounts().connect(apiKey: AccountBench.key, name: "Instituut")
        _ = try await bench.instances().link(
            account: account, list: nil, name: nil, emailKind: "zakelijk", actor: "test")
        let vault = try Vault(base64: old)
        let list = try await bench.pool.query("select list_id from koppeling.connector_instance").scalar(
            as: String.self)
        let sealed = try vault.seal("getekend", for: Purpose.signature(list: list))
        try await bench.pool.execute(
            "update koppeling.connector_instance set webhook_signing_secret = \(sealed)::bytea")
        return account
    }

    @Test func `all that the old key sealed is sealed with the new one, which alone opens it then`() async throws {
        try await AccountBench.run { bench in
            let account = try await fill(bench)
            let both = SealedValues(pool: bench.pool, vault: try Vault(base64: new, previous: old))
            #expect(try await both.census() == SealedValues.Census(current: 0, previous: 3))
            // Workers that have both keys work before and after.
            let accounts = try bench.accounts(key: new, previous: old)
            _ = try await accounts.client(account: account.id)

            let first = try await both.reseal()
            #expect(first.resealed == 3 && first.closed.isEmpty)
            #expect(try await both.census() == SealedValues.Census(current: 3, previous: 0))
            let again = try await both.reseal()
            #expect(again.resealed == 0, "nothing is left to do")

            _ = try await bench.accounts(key: new).client(account: account.id)
            let alone = SealedValues(pool: bench.pool, vault: try Vault(base64: new))
            #expect(try await alone.census() == SealedValues.Census(current: 3, previous: 0))
            let former = SealedValues(pool: bench.pool, vault: try Vault(base64: old))
            #expect(try await former.census().closed.count == 3)
            let message = try await bench.refusal(.wrongKey) {
                _ = try await bench.accounts(key: old).client(account: account.id)
            }
            #expect(message.contains("KOPPELING_SECRET_KEY_PREVIOUS"))
        }
    }

    @Test func `it goes on where it was broken off, and leaves what no key opens as it is`() async throws {
        try await AccountBench.run { bench in
            _ = try await fill(bench)
            let third = try Vault(base64: "/////wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            let strange = try third.seal("x", for: "y")
            try await bench.pool.execute("update koppeling.connector_instance set webhook_secret = \(strange)::bytea")
            let vault = try Vault(base64: new, previous: "\(old), ")
            // As if it had been killed after the first value.
            let login = try await bench.pool.query("select login_id from koppeling.mailchimp_account").scalar(
                as: String.self)
            let begun = try vault.seal(AccountBench.key, for: Purpose.credential("us1:\(login)"))
            try await bench.pool.execute("update koppeling.mailchimp_account set credential = \(begun)::bytea")

            let values = SealedValues(pool: bench.pool, vault: vault)
            let (resealed, closed) = try await values.reseal()
            #expect(resealed == 1)
            #expect(closed == ["the webhook's address of instance 'Nieuwsbrief'"])
            #expect(
                try await bench.pool.query("select webhook_secret from koppeling.connector_instance").scalar(
                    as: [UInt8].self) == strange)
            #expect(try await bench.pool.query("select credential from koppeling.mailchimp_account").scalar() == begun)
        }
    }

    @Test func `many values, in batches`() async throws {
        let pool = TestDatabase.current.pool
        let vault = try Vault(base64: old)
        let sealed = try (1...250).map { try vault.seal("key \($0)", for: Purpose.credential("us1:\($0)")) }
        try await pool.query(
            """
            insert into koppeling.mailchimp_account (name, credential, data_centre, account_id, login_id)
            select 'account ' || n, sealed, 'us1', 'a', n::text
            from unnest(\(sealed)::bytea[]) with ordinality u (sealed, n)
            """)
        let values = SealedValues(pool: pool, vault: try Vault(base64: new, previous: old))
        #expect(try await values.reseal().resealed == 250)
        #expect(try await values.census() == SealedValues.Census(current: 250, previous: 0))
    }
}
