import Foundation
import Postgres
import TestSupport
import Testing

@Suite("koppeling group, rule, value, person", .database)
struct GroupCommandTests {
    @Test func `files come in, rules are previewed and saved, a value is renamed, and it is said why`() async throws {
        try await CommandWorld.run { world in
            let companies = try world.file("companies.csv", "id;naam;categorieën", "C1;Acme BV;Zorg", "C2;Bakker;Bouw")
            let imported = try await world.done("company import --source crm", companies)
            #expect(imported.output.hasPrefix("2 rows: 2 new, 0 changed, 0 as they were, 0 with faults"))
            let persons = try world.file(
                "persons.csv", "id;voornaam;tussenvoegsels;achternaam;email_zakelijk;categorieën;functie;bedrijf",
                "1;Anna;van der;Berg;anna@example.org;Mailings / News;Directeur;C1",
                "2;Bob;;Smit;bob@example.org;Mailings / News;Chef;C2", "3;Cees;;Vos;cees@example.org;;Directeur;C2")
            try await world.done("person import --source crm", persons)

            #expect(try await world.refused("company merge crm C1 CRM c1").contains("merged into itself"))

            try await world.done("group create News")
            #expect(try await world.refused("group create news").contains("choose another name"))
            let preview = try await world.done("rule preview News --function Directeur --exact")
            #expect(preview.lines.first == "Rule 1 matches 2 persons; so far 2 in all.")
            #expect(preview.output.contains("join  crm 1  Anna van der Berg"))
            let empty = try await world.done("rule list News")
            #expect(empty.output.isEmpty && empty.errors == "There are none.\n")
            let added = try await world.done("rule add News", "Mailings / News", "--company-category", "Zorg")
            #expect(added.output == "The group has 1 rule; 1 membership changed.\n")
            try await world.done("rule add News --function Chef")
            #expect(try await world.refused("rule add News --function Baas").contains("there is no function \"Baas\""))
            for (asked, told) in [
                ("add News --function Chef --function Directeur", "two functions"),
                ("add News --department A --department B", "two departments"),
                ("preview News --company C1 --company C2", "two companies"),
            ] {
                let refused = try await world.refused("rule \(asked)", code: 2)
                #expect(refused.contains("\(told) match nobody: give two rules"), "\(refused)")
            }
            let lone = try await world.refused("rule add News --not-function Chef")
            #expect(lone.contains("2 persons") && lone.hasSuffix("add --confirm.\n"), "\(lone)")

            try await world.done("value rename function Chef", "Hoofd")
            #expect(try await world.refused("value rename function Hoofd Directeur").contains("Directeur"))
            let names = try await world.done("value list function --json").lines
            #expect(names == [#"{"name":"Directeur"}"#, #"{"name":"Hoofd"}"#])
            #expect(try await world.done("value list company --prefix b").lines.last == "Bakker [crm/C2]")
            #expect(try await world.done("value list companyCategory --limit 1 --after bouw").lines.last == "Zorg")
            #expect(try await world.done("value list personCategory --prefix", "mailings / n").lines.count == 2)
            #expect(try await world.done("value list department").errors == "There are none.\n")
            #expect(try await world.refused("value list colour", code: 2).contains("companyCategory"))
            let rules = try await world.done("rule list News --json").output
            #expect(rules.contains(#""kind":"function","value":"Hoofd""#))
            let without = try await world.done("rule remove News 1 --dry-run")
            #expect(without.output.contains("0 join, 1 leave;"), "\(without.output)")
            #expect(try await world.done("rule list News --json").output == rules)
            try await world.done("rule remove News 1")
            try await world.done("rule add News --not", "Mailings / News", "--confirm")

            let groups = try await world.done("group list --json").output
            #expect(groups.contains(#""name":"News""#) && groups.contains(#""active":2"#), "\(groups)")
            try await world.done("group add News crm 1")
            try await world.done("group remove News crm 2")
            let members = try await world.done("group members News")
            #expect(members.lines.count == 4 && members.output.contains("manual"), "\(members.output)")
            let out = try await world.done("group members News --status inactive --json")
            #expect(out.lines.count == 1 && out.output.contains(#""override":"exclude""#))
            try await world.done("group release News crm 2")
            let checked = try await world.done("group check News")
            #expect(checked.table.last?.prefix(4) == ["News", "true", "0", "0"], "\(checked.output)")

            let why = try await world.done("why crm 2 News")
            #expect(why.lines.first == "A member." && why.lines[1] == "Rule 1 matches: Hoofd.", "\(why.output)")
            #expect(try await world.done("why crm 1 News --json").output.contains(#""override""#))
            #expect(try await world.refused("why crm 9 News").contains("9"))
            let moment = try await world.refused("why crm 2 News --at gisteren", code: 2)
            #expect(moment.contains("'gisteren' is invalid for '--at <at>'"), "\(moment)")
            for kind in ["person", "company"] {
                let written = try await world.refused("\(kind) put", #"{"id": "geheim"}"#, code: 2)
                #expect(written.contains("koppeling \(kind) put < ") && !written.contains("geheim"))
            }
            let faulty = try world.file("faulty.csv", "id;geslacht", "1;paars", "2;m")
            let tried = try await world.done("person import --source crm --dry-run", faulty)
            #expect(tried.output.hasPrefix("2 rows:") && tried.errors.contains("line 2, geslacht: "), "\(tried.errors)")
            #expect(tried.errors.hasSuffix("Nothing would be imported, because 1 row has faults.\n"), "\(tried.errors)")
            let skipping = try await world.done(
                "person import --source crm --dry-run --skip-bad /nowhere/bad.csv", faulty)
            #expect(skipping.errors.contains("line 2, geslacht: "), "\(skipping.errors)")
            #expect(skipping.errors.hasSuffix("The rows with faults would be in /nowhere/bad.csv.\n"))
            let gone = try world.file("gone.csv", "id;geanonimiseerd", "3;ja", "99;ja")
            let dry = try await world.done("person import --source crm --dry-run", gone).output
            #expect(dry.hasSuffix(" 2 were anonymised: who of them is known would be erased.\n"), "\(dry)")
            let erased = try await world.done("person import --source crm", gone).output
            #expect(erased.hasSuffix(" 2 were anonymised: who of them is known is erased.\n"), "\(erased)")
        }
    }

    @Test func `a person is exported, merged and erased, and what becomes of the other record is said`() async throws {
        try await CommandWorld.run { world in
            let persons = #"""
                [{"source": "crm", "id": "1", "given_name": "Anna", "family_name": "Berg", "emails": {"zakelijk": "anna@example.org"}},
                 {"source": "crm", "id": "2", "family_name": "Berg", "emails": {"zakelijk": "a.berg@example.org"}}]
                """#
            #expect(try await world.done("person put", input: persons).output == "2\n")
            let held = try await world.done("person export crm 2").output
            #expect(held.contains("a.berg@example.org") && !held.contains("anna@example.org"))
            try await world.done("person merge crm 1 crm 2")
            try await world.done("person merge crm 1 crm 2")
            #expect(try await world.refused("person merge crm 1 crm 9").contains("9"))
            let merged = try await world.done("person export crm 2").output
            #expect(merged.contains("anna@example.org") && merged.contains("zakelijk 2"))
            struct Export: Decodable {
                struct Record: Decodable { var source: String, external_id: String, family_name: String? }
                struct Entry: Decodable { var source: String, external_id: String, kind: String }
                var merged: [Record], audit: [Entry]
            }
            let export = try JSONText(merged).decode(Export.self)
            #expect(export.merged.map { [$0.source, $0.external_id, $0.family_name] } == [["crm", "2", "Berg"]])
            #expect(export.audit.contains { $0.external_id == "2" && $0.kind == "merge" })

            let dry = try await world.done("person erase crm 1 --dry-run")
            #expect(dry.lines.first?.hasPrefix("Would erase person ") == true)
            #expect(try await world.done("person erased").errors == "There are none.\n")
            let erased = try await world.done("person erase crm 1 --prove")
            #expect(erased.output.contains("by cli:ann.") && erased.lines.last == "Complete.", "\(erased.output)")
            #expect(erased.output.contains("No table holds an address of this person."))
            let again = try await world.done("person erase crm 1 --json")
            #expect(again.output.contains(#""is_complete": true"#), "\(again.output)")
            // The record that was merged into hers goes with her.
            #expect(try await world.done("person erased --json").lines.count == 2)
            #expect(try await world.refused("person export crm 1").contains("crm"))
            #expect(try await world.refused("person erase crm 99").contains("check both"))
            #expect(try await world.done("person put", input: persons).code == 0)
        }
    }

    @Test func `a training says so and is held to patterns; tokens are made with the rights named`() async throws {
        try await CommandWorld.run(["KOPPELING_ENVIRONMENT": "training"]) { world in
            let shown = try await world.done("environment show")
            #expect(shown.table.contains(["environment", "training"]))
            #expect(try await world.done("environment addresses").output == "Every address may be written to.\n")
            try await world.done("environment addresses *@test.example.org *@post.koppeling.nl")
            let patterns = ["*@post.koppeling.nl", "*@test.example.org"]
            #expect(try await world.done("environment addresses").lines == patterns)
            let held = try await world.done("environment show --json").output
            #expect(held.contains(#""*@test.example.org""#) && held.contains(#""changed":null"#), "\(held)")
            #expect(try await world.refused("environment addresses *@a.nl --all", code: 2).contains("not both"))
            #expect(try await world.done("environment addresses").lines == patterns)
            #expect(try await world.done("environment addresses --all").output == "Every address may be written to.\n")
            #expect(try await world.done("environment show --json").output.contains(#""addresses":[]"#))

            let production = try await koppeling(
                ["environment", "addresses", "*@a.nl"],
                world.settings.merging(["KOPPELING_ENVIRONMENT": "production"]) { $1 })
            #expect(production.errors.contains("This is production: patterns hold in training only"), "\(production)")

            let token = try await world.done("token create desk --may groups --may link --may disclose")
            #expect(token.output.hasPrefix("koppeling_"))
            #expect(try await world.done("token list --json").output.contains(#"["disclose","groups","link"]"#))
            let help = try await world.done("token create --help").output
            #expect(help.contains("see and steer the link"))
        }
    }

    @Test func `the preview that the README shows works with the person that it puts`() async throws {
        let readme = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../README.md")
        let text = try String(contentsOf: readme, encoding: .utf8)
        let put = try #require(text.firstMatch(of: /select koppeling.put_person\('[^']*'\);/))
        let line = try #require(text.firstMatch(of: /koppeling (rule preview[^#\n]*)/)).1
        let words = line.matches(of: /"([^"]*)"|\S+/).map { String($0.1 ?? $0.0) }
        try await CommandWorld.run { world in
            try await TestDatabase.current.pool.execute("\(unsafe: String(put.0))")
            try await world.done("group create", words[2])
            let run = try await koppeling(words, world.settings)
            #expect(run.code == 0 && run.lines.first?.hasPrefix("Rule 1 matches 1 person") == true, "\(run)")
        }
    }
}
