import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// A dump that is restored elsewhere, or opened with other settings, sends nothing.
@Suite("A deployment", .database)
struct DeploymentTests {
    private func isEnabled(_ list: LinkedList) async throws -> Bool {
        try await list.instances.find(list.instance.name).enabled
    }

    @Test(
        "that is another than was confirmed turns every instance off, erases nothing there, and works again once confirmed",
        arguments: ["system_identifier = 1", "database_oid = 1", "environment = 'training'", "key_mark = 'ff'"])
    func changed(what: String) async throws {
        try await LinkedList.run(persons: 2) { list in
            try await list.quiet()
            try await list.control("DELETE", "requests")
            try await list.pool.query("update koppeling.deployment set \(unsafe: what)")
            try await eventually("off", within: .seconds(20)) { try await !isEnabled(list) }
            try await list.put("7")
            _ = try await Erasures(pool: list.pool, vault: list.instances.vault)
                .erase(source: "test", id: "0", actor: "test")
            let refused = await #expect(throws: ConnectorError.self) {
                try await list.instances.setEnabled(true, instance: list.instance.name)
            }
            #expect(refused?.message.contains("koppeling environment confirm") == true)
            // As if it were on in a copy of a table: the next look turns it off again before anybody works.
            #expect(try await list.accounts.deployment.check() != nil)
            #expect(try await list.writes() == 0)
            #expect(try await list.status(list.address("0")) == "subscribed")

            try await list.accounts.deployment.confirm(actor: "test")
            #expect(try await list.accounts.deployment.check() == nil)
            #expect(try await !isEnabled(list), "only a person turns it on")
            try await list.instances.setEnabled(true, instance: list.instance.name)
            try await eventually("both", within: .seconds(30)) {
                let joined = try await list.status(list.address("7"))
                let erased = try await list.status(list.address("0"))
                return joined == "subscribed" && erased == nil
            }
        }
    }

    @Test("keeps its confirmation while its key is replaced")
    func rotation() async throws {
        let old = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        let new = "/////wQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        let pool = TestDatabase.current.pool
        func difference(_ vault: Vault) async throws -> String? {
            try await Deployment(pool: pool, vault: vault, environment: .production).check()
        }
        #expect(try await difference(Vault(base64: old)) == nil)
        let both = try Vault(base64: new, previous: old)
        #expect(try await difference(both) == nil)
        #expect(try await difference(Vault(base64: old)) == nil, "some workers have the old one only")
        _ = try await SealedValues(pool: pool, vault: both).reseal()
        #expect(try await difference(Vault(base64: new)) == nil)
        #expect(try await difference(Vault(base64: old)) == "another KOPPELING_SECRET_KEY")
    }

    @Test(
        "holds training to patterns in which only * stands for more than itself",
        arguments: [
            ("test_*@post.koppeling.nl", "test_jan@post.koppeling.nl", true),
            ("test_*@post.koppeling.nl", "testjan@post.koppeling.nl", false),
            ("test_*@post.koppeling.nl", "testxjan@post.koppeling.nl", false),
            ("a%b@*", "axxb@post.koppeling.nl", false), ("a%b@*", "a%b@post.koppeling.nl", true),
            (#"a\b*"#, #"a\b@post.koppeling.nl"#, true), ("Jan@*", "jan@post.koppeling.nl", true),
        ])
    func patterns(pattern: String, address: String, isAllowed: Bool) async throws {
        let pool = TestDatabase.current.pool
        let vault = try Vault(base64: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        let deployment = Deployment(pool: pool, vault: vault, environment: .training)
        #expect(try await deployment.check() == nil)
        try await deployment.setTrainingAddresses([pattern], actor: "test")
        let found: Bool = try await pool.query("select koppeling.address_allowed(\(address))").scalar()
        #expect(found == isAllowed)
        let refusal = await #expect(throws: PostgresError.self) {
            try await deployment.setTrainingAddresses(["post.koppeling.nl"], actor: "test")
        }
        #expect(refusal?.message == #""post.koppeling.nl" is the pattern of no address"#)
        #expect(try await deployment.trainingAddresses() == [pattern.lowercased()])
    }

    @Test(
        "for training begins as a dry run: everything is staged and shown, nothing is sent; patterns hold addresses out"
    )
    func training() async throws {
        try await LinkedList.run(persons: 2, environment: .training) { list in
            try await eventually("staged", within: .seconds(20)) {
                try await list.pool.query("select count(*) from koppeling.actions where state = 'staged'")
                    .scalar(as: Int64.self) == 2
            }
            _ = try await Erasures(pool: list.pool, vault: list.instances.vault)
                .erase(source: "test", id: "0", actor: "test")
            try await list.pull()
            #expect(try await list.writes() == 0)

            try await list.accounts.deployment.setTrainingAddresses(["persoon1@*"], actor: "test")
            try await list.instances.set(.dryRun, to: false, instance: list.instance.name)
            try await list.put("9")
            try await list.pool.execute(
                "update koppeling.job set run_at = koppeling.now() where kind = 'action' and run_at > koppeling.now()")
            try await list.quiet()
            #expect(try await list.status(list.address("1")) == "subscribed")
            #expect(try await list.status(list.address("9")) == nil)
            try await list.accounts.deployment.setTrainingAddresses([], actor: "test")
            try await list.quiet()
            #expect(try await list.status(list.address("9")) == "subscribed")
        }
    }
}
