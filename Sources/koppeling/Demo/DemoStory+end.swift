import Foundation
import IO
import Postgres

/// A worker dies in the middle; what is left to see.
extension DemoStory {
    private struct Audit: Decodable {
        struct Against: Decodable { var carried_out: Int }
        struct Duplicate: Decodable { var same: String }
        var subscribed_against_own_no: Against
        var duplicates: [Duplicate]
        var most_in_flight: [String: Int]
    }

    /// 7. Two thousand edits, and a worker killed while they are carried out.
    @Sendable func killWorker() async throws -> String {
        let victims = persons.persons.indices.filter { index in
            index < DemoPersons.members && !persons.persons[index].address.isEmpty && index > 20
        }
        try await door.send("PUT", "latency", #"{"single": 20}"#)
        try await door.send("DELETE", "requests")
        let before = try await door.contacts()
        let edits = 2000
        var expected: [String: String] = [:]
        var names: [String: String] = [:]
        for round in 0..<edits {
            let index = victims[round % victims.count]
            let person = persons.persons[index]
            // Every fourth edit changes the address, the others the name.
            if round % 4 == 3 {
                let address = "persoon\(person.id).\(round)@post.koppeling.test"
                expected[person.id] = address
                try await world.put(person.id, #"{"emails": {"zakelijk": "\#(address)"}}"#)
            } else {
                names[person.id] = "\(person.familyName) \(round)"
                try await world.put(person.id, #"{"family_name": "\#(person.familyName) \#(round)"}"#)
            }
            if round == edits / 2 { try await killOne() }
        }
        try await world.quiet(within: .seconds(180))
        for index in victims {
            let person = persons.persons[index]
            let address = expected[person.id] ?? person.address
            guard let contact = try await door.contact(address), contact.status == "subscribed" else {
                throw Failure("\(person.id) is not in the list at the last address")
            }
            let last = names[person.id] ?? person.familyName
            let whole = person.prefixes.isEmpty ? last : "\(person.prefixes) \(last)"
            try expect(contact.merge_fields["LNAME"] == whole, "\(person.id) has not the last name in the list")
            if let old = before[person.address] {
                try expect(old.contact_id == contact.contact_id, "\(person.id) became another contact")
            }
        }
        let audit: Audit = try await door.send("GET", "audit").decode()
        try expect(audit.duplicates.isEmpty, "a contact stands in the list twice")
        try expect(audit.subscribed_against_own_no.carried_out == 0, "somebody who said no was subscribed")
        let repeated =
            try await door.contacts().values.reduce(0) { $0 + $1.unchanged_writes }
            - before.values.reduce(0) { $0 + $1.unchanged_writes }
        let cut = Int(
            try await world.number(
                "select count(*) from koppeling.job_attempts where outcome = 'died'"))
        try expect(repeated <= cut, "\(repeated) calls were repeated, and only \(cut) attempts were cut off")
        return "2,000 edits with a worker killed in the middle: the list is right, nobody stands there twice, "
            + "\(cut) attempts were cut off, \(repeated) calls repeated; "
            + "most in flight \(audit.most_in_flight.values.max() ?? 0)"
    }

    /// Kills the first worker that has work in hand.
    private func killOne() async throws {
        try await world.eventually("a worker is at work") {
            let busiest = try await world.pool.query(
                """
                select w.pid from koppeling.worker w
                join koppeling.job j on j.worker_id = w.id and j.kind = 'action'
                where w.ended_at is null
                group by w.pid
                order by count(*) desc
                limit 1
                """)
            guard let pid = try busiest.first?.decode("pid", as: Int32.self) else { return false }
            memory.withLock { memory in
                for worker in memory.workers where worker.process.processIdentifier == pid { worker.kill() }
            }
            return true
        }
    }

    /// 8. Members by status and reason, and where to look.
    @Sendable func summary() async throws -> String {
        let rows = try await world.pool.query(
            """
            select status, coalesce(via, reasons[1]) as reason, count(*) as persons
            from koppeling.membership
            group by 1, 2
            order by 1, 3 desc
            """)
        for row in rows {
            let status: String = try row.decode("status")
            let reason: String = try row.decode("reason")
            Console.line("  \(status)  \(reason)  \(try row.decode("persons", as: Int64.self))")
        }
        let workers = try await world.pool.query(
            """
            select w.name, w.state, count(a.job_id) as attempts
            from koppeling.workers w
            left join koppeling.job_attempts a on a.worker_id = w.id
            group by w.id, w.name, w.state
            order by w.id
            """)
        for row in workers {
            Console.line(
                "  worker \(try row.decode("name", as: String.self))  \(try row.decode("state", as: String.self))  "
                    + "\(try row.decode("attempts", as: Int64.self)) attempts")
        }
        try expect(workers.count >= 2, "the database knows of \(workers.count) workers")
        return "look at koppeling.actions, target_group_members, audience_members, job_attempts and workers"
    }
}
