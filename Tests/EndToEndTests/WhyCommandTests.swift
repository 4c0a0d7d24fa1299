import Foundation
import Postgres
import TestSupport
import Testing

@Suite("koppeling why, doctor", .database)
struct WhyCommandTests {
    private let group = "Mailchimp - News"

    /// Links a list that is on and lets everybody in.
    private func run(_ more: [String: String] = [:], _ body: (CommandWorld) async throws -> Void) async throws {
        try await CommandWorld.run(more) { world in
            try await world.link(persons: 1)
            try await world.done("instance enable News")
            try await world.done("rule add", group, "Mailings / News")
            try await body(world)
        }
    }

    private func why(_ world: CommandWorld) async throws -> String { try await world.done("why crm 1", group).output }

    @Test func `another deployment than was confirmed is said by the log, the doctor, the instance and why`()
        async throws
    {
        try await run { world in
            #expect(try await world.done("doctor").output.contains("ok    deployment: the one that was confirmed"))
            let settings = world.settings.merging(["KOPPELING_ENVIRONMENT": "training"]) { $1 }
            let worker = try RunningProgram(["work"], settings)
            defer { worker.clean() }
            try await eventually("the log says so", within: .seconds(30)) {
                try worker.errors().contains("warning") && worker.errors().contains("it was production, it is training")
            }
            let sick = try await koppeling(["doctor"], world.settings)
            #expect(sick.code == 1)
            let line = try #require(sick.lines.first { $0.hasPrefix("FAIL  deployment") })
            #expect(
                line.contains("it was production, it is training") && line.contains("koppeling environment confirm"))
            let said = #""off_because":"this is not the deployment that was confirmed (it was production"#
            #expect(try await world.done("instance list --json").output.contains(said))
            #expect(try await world.done("instance status News --json").output.contains(said))
            #expect(try await why(world).contains("which is off: this is not the deployment that was confirmed"))
        }
    }

    @Test func `what keeps her off the list is said: training, the credential, a template, an address that flips`()
        async throws
    {
        try await run(["KOPPELING_ENVIRONMENT": "training"]) { world in
            try await world.done("instance template News create manual")
            try await world.done("environment addresses *@test.example.org")
            #expect(try await why(world).contains("Training holds this address out: koppeling environment addresses"))
            try await world.done("environment addresses --all")
            #expect(try await !why(world).contains("Training holds"))
            struct Plan: Decodable { var id: Int, version: Int }
            let plans: [Plan] = try await world.done("plan list --state held --json").decode()
            try await world.done("plan approve \(plans[0].id) --plan-version \(plans[0].version)")
            #expect(try await why(world).contains("its template is manual: koppeling action run"))
            let pool = TestDatabase.current.pool
            try await pool.query(
                """
                select koppeling.open_task('oscillation', 1, c.person_id, jsonb_build_object('member', c.member_id))
                from koppeling.claim c
                """)
            #expect(try await why(world).contains("the address comes and goes too often: koppeling action run"))
            try await pool.query("update koppeling.mailchimp_account set authenticated = false")
            #expect(
                try await why(world).contains("refuses the credential of account 'Instituut': koppeling account renew"))
        }
    }

    @Test func `who recorded a no, and the rule beside a decision by hand; what changed is JSON`() async throws {
        struct Whole: Decodable {
            struct Change: Decodable {
                struct Status: Decodable { var status: String }
                var kind: String, old: Status?, new: Status?

                private enum CodingKeys: CodingKey { case kind, old, new }
                init(from decoder: any Decoder) throws {
                    let container = try decoder.container(keyedBy: CodingKeys.self)
                    kind = try container.decode(String.self, forKey: .kind)
                    guard kind == "status" else { return }
                    old = try container.decodeIfPresent(Status.self, forKey: .old)
                    new = try container.decodeIfPresent(Status.self, forKey: .new)
                }
            }
            var changes: [Change]
        }
        try await run { world in
            try await world.done("group add", group, "crm", "1")
            let added = try await why(world)
            #expect(added.contains("Added by hand.\nRule 1 matches: Mailings / News.\n"), "\(added)")
            try await world.done("person unsubscribe crm 1")
            let left = try await why(world)
            #expect(left.contains("unsubscribed, at the person, said by user (cli:ann) at "), "\(left)")
            #expect(left.contains("active (manual) -> inactive (unsubscribed)"), "\(left)")
            let again = try await world.done("group add", group, "crm", "1")
            #expect(again.output == "She stays out: unsubscribed. koppeling why tells more.\n", "\(again.output)")
            let whole: [Whole] = try await world.done("why crm 1", group, "--json").decode()
            let last = try #require(whole.first?.changes.first { $0.kind == "status" })
            #expect(last.old?.status == "active" && last.new?.status == "inactive")
        }
    }
}
