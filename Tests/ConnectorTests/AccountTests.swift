import Connector
import Postgres
import TestSupport
import Testing

@Suite("Accounts", .database)
struct AccountTests {
    @Test
    func `a login that is connected already is refused, by whichever of its keys, and the message says what to do`()
        async throws
    {
        try await AccountBench.run { bench in
            let accounts = try bench.accounts()
            let account = try await accounts.connect(apiKey: AccountBench.key, name: "Instituut")
            #expect(account.dataCentre == "us1")
            for key in [AccountBench.key, AccountBench.secondKey] {
                let message = try await bench.refusal(.alreadyLinked) {
                    _ = try await accounts.connect(apiKey: key, name: "Twee")
                }
                #expect(message.contains("'Instituut'") && message.contains("koppeling account renew"))
            }
            #expect(try await accounts.list().map(\.name) == ["Instituut"])
        }
    }

    @Test func `a name that is taken and a key that Mailchimp does not accept are refused`() async throws {
        try await AccountBench.run { bench in
            let accounts = try bench.accounts()
            _ = try await accounts.connect(apiKey: AccountBench.key, name: "Instituut")
            let taken = try await bench.refusal(.alreadyLinked) {
                _ = try await accounts.connect(apiKey: AccountBench.otherLogin, name: "Instituut")
            }
            #expect(taken.contains("--name"))
            let unknown = try await bench.refusal(.refused) {
                _ = try await accounts.connect(apiKey: "ffffffffffffffffffffffffffffffff-us1", name: nil)
            }
            #expect(unknown.contains("make a new one"))
            #expect(try await accounts.list().count == 1)
        }
    }

    @Test func `another key of the same login is taken, and what waited for it goes on`() async throws {
        try await AccountBench.run { bench in
            let accounts = try bench.accounts()
            let account = try await accounts.connect(apiKey: AccountBench.key, name: "Instituut")
            _ = try await bench.instances().link(
                account: account, list: nil, name: nil, emailKind: "zakelijk", actor: "test")
            try await bench.pool.script(
                """
                update koppeling.mailchimp_account set authenticated = false;
                select koppeling.open_task('credentialRevoked', id, null, '{}') from koppeling.connector_instance;
                """)
            let id = try await bench.control("GET", "accounts").decode(Listing.self).accounts[0].id
            try await bench.control("PATCH", "accounts/\(id)", #"{"revoke_key": "\#(AccountBench.key)"}"#)
            let renewed = try await accounts.renew(account, apiKey: AccountBench.secondKey)
            #expect(renewed.authenticated && renewed.id == account.id && renewed.name == "Instituut")
            let open = "select count(*) from koppeling.task where done_at is null"
            #expect(try await bench.pool.query(Query(stringLiteral: open)).scalar(as: Int.self) == 0)
            #expect(try await bench.instances().lists(account: renewed).count == 1)
        }
    }

    private struct Listing: Decodable {
        struct Account: Decodable { var id: String }
        var accounts: [Account]
    }

    @Test func `the key of another login is no renewal`() async throws {
        try await AccountBench.run { bench in
            let accounts = try bench.accounts()
            let account = try await accounts.connect(apiKey: AccountBench.key, name: "Instituut")
            let message = try await bench.refusal(.refused) {
                _ = try await accounts.renew(account, apiKey: AccountBench.otherLogin)
            }
            #expect(message.contains("another login") && message.contains("'Instituut'"))
            #expect(try await bench.instances().lists(account: account).count == 1, "the old key is there still")
        }
    }

    @Test func `an account that an instance uses is not forgotten, another is`() async throws {
        try await AccountBench.run { bench in
            let accounts = try bench.accounts()
            let account = try await accounts.connect(apiKey: AccountBench.key, name: "Instituut")
            let other = try await accounts.connect(apiKey: AccountBench.otherLogin, name: nil)
            #expect(other.name == "Ander")
            _ = try await bench.instances().link(
                account: account, list: nil, name: nil, emailKind: "zakelijk", actor: "test")
            let message = try await bench.refusal(.wrongState) { try await accounts.disconnect(account) }
            #expect(message.contains("koppeling instance relink NAME"))
            try await accounts.disconnect(other)
            #expect(try await accounts.list().map(\.name) == ["Instituut"])
        }
    }

    @Test func `the budget is the login's, from one to ten, and to be seen with what is under way`() async throws {
        try await AccountBench.run { bench in
            let accounts = try bench.accounts()
            let account = try await accounts.connect(apiKey: AccountBench.key, name: "Instituut")
            let instance = try await bench.instances().link(
                account: account, list: nil, name: nil, emailKind: "zakelijk", actor: "test")
            struct Permits: Decodable, Equatable {
                var budget: Int, allowed_now: Int, calls_in_flight: Int, own_calls_in_flight: Int
                var waits_for_permit: Bool, throttled: Bool
            }
            func permits() async throws -> Permits {
                let rows = try await bench.pool.query(
                    """
                    select jsonb_build_object('budget', budget, 'allowed_now', allowed_now, 'calls_in_flight',
                        calls_in_flight, 'own_calls_in_flight', own_calls_in_flight, 'waits_for_permit', waits_for_permit,
                        'throttled', coalesce(throttled_until > koppeling.now(), false)) as permits
                    from koppeling.instance_status
                    """)
                return try #require(rows.first).decode("permits", as: JSONText.self).decode()
            }
            func expected(_ budget: Int, _ allowed: Int, _ all: Int = 0, _ own: Int = 0, waits: Bool = false) -> Permits
            {
                Permits(
                    budget: budget, allowed_now: allowed, calls_in_flight: all, own_calls_in_flight: own,
                    waits_for_permit: waits, throttled: allowed < budget)
            }
            #expect(try await permits() == expected(6, 6))
            for budget in [0, 11] {
                _ = try await bench.refusal(.badSetting) { try await accounts.setBudget(budget, account: account) }
            }
            try await accounts.setBudget(2, account: account)
            #expect(try await permits() == expected(2, 2))
            let resource = try await bench.pool.query("select permit_resource from koppeling.mailchimp_account").scalar(
                as: String.self)
            func take(_ holder: String) async throws {
                try await bench.pool.query(
                    """
                    select koppeling.acquire_permit(\(resource)::text, \(holder)::text,
                        koppeling.register_worker('w', 'h', 1, 'v'))
                    """)
            }
            try await take("instance-\(instance.id)")
            try await take("instance-0")
            #expect(try await permits() == expected(2, 2, 2, 1))
            try await take("instance-\(instance.id)")
            let waiting = try await permits()
            #expect(waiting == expected(2, 2, 2, 1, waits: true))
            try await bench.pool.query("select koppeling.throttle(\(resource)::text)")
            let throttled = try await permits()
            #expect(throttled.allowed_now == 1 && throttled.throttled)
        }
    }
}
