import Foundation
import Postgres
import TestSupport
import Testing

@Suite("koppeling with somebody erased", .database)
struct ErasedCommandTests {
    /// Two persons, of whom the first is erased.
    private func run(_ body: (CommandWorld) async throws -> Void) async throws {
        try await CommandWorld.run { world in
            try await world.done("group create News")
            try await world.done(
                "person put",
                input: #"[{"source": "crm", "id": "1", "family_name": "Berg"}, {"source": "crm", "id": "2"}]"#)
            try await world.done("person erase crm 1")
            try await body(world)
        }
    }

    @Test func `who is put or imported again is told of as erased, and not as new`() async throws {
        struct Report: Decodable { var created: Int, erased: Int, rows: Int }
        try await run { world in
            let file = try world.file("persons.csv", "id;achternaam", "1;Berg", "3;Smit")
            let dry = try await world.done("person import --source crm --dry-run", file)
            #expect(dry.output.hasPrefix("2 rows: 1 new, 0 changed, 0 as they were, 0 with faults"), "\(dry.output)")
            #expect(dry.output.hasSuffix(" 1 was erased: nothing of them would be taken in.\n"), "\(dry.output)")
            let report: [Report] = try await world.done("person import --source crm --json", file).decode()
            #expect(report.map(\.created) == [1] && report.map(\.erased) == [1] && report.map(\.rows) == [2])
            let put = try await world.done(
                "person put", input: #"[{"source": "CRM", "id": "1"}, {"source": "crm", "id": "4"}]"#)
            #expect(put.output == "2\n" && put.errors == "1 of these was erased: nothing of them is taken in.\n")
            #expect(try await world.done("person put", input: #"{"source": "crm", "id": "4"}"#).errors == "")
        }
    }

    @Test func `whoever names somebody erased is told so, and since when`() async throws {
        try await run { world in
            for command in [
                "person export crm 1", "why crm 1 News", "group add News crm 1", "group readmit News crm 1",
                "person unsubscribe crm 1", "person archive crm 1",
            ] {
                let told = try await world.refused(command)
                #expect(told.contains(/crm 1 was erased on \d{4}-\d\d-\d\d; nothing is held/), "\(command): \(told)")
            }
            #expect(try await world.refused("person export crm 9").contains("Put the person first"))
        }
    }
}
