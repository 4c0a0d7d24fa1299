import FoundationEssentials
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@testable import Connector

/// Somebody who shares the address of an erased person claims the contact before it is deleted.
@Suite("A contact that waits to be deleted for good", .database)
struct ErasureClaimTests {
    private func occupyPermits(_ list: LinkedList) async throws {
        try await list.pool.script(
            """
            select koppeling.set_permit_budget(permit_resource, 1) from koppeling.mailchimp_account;
            insert into koppeling.permit (resource, slot, holder, worker_id, expires_at)
            select a.permit_resource, 10, 'test', (select max(id) from koppeling.worker),
                koppeling.now() + interval '1 hour'
            from koppeling.mailchimp_account a;
            """)
    }

    private func freePermits(_ list: LinkedList) async throws {
        try await list.pool.script(
            """
            delete from koppeling.permit where holder = 'test';
            select koppeling.set_permit_budget(permit_resource, 6) from koppeling.mailchimp_account;
            """)
    }

    private func isAsked(_ list: LinkedList) async throws -> Bool {
        struct Faults: Decodable {
            struct Fault: Decodable { var hits: Int }
            var faults: [Fault]
        }
        return try await list.control("GET", "faults").decode(Faults.self).faults[0].hits == 1
    }

    @Test("is his who claims it while the call waits its turn")
    func claimedMeanwhile() async throws {
        try await LinkedList.run(persons: 1) { list in
            let address = list.address("0")
            try await list.put("8", isMember: false, #"{"emails": {"zakelijk": "\#(address)"}}"#)
            try await list.quiet()
            try await list.control(
                "POST", "faults",
                #"{"effect": "hang", "milliseconds": 1500, "when": "before", "count": 1, "match": {"method": "GET"}}"#)
            _ = try await Erasures(pool: list.pool, vault: list.instances.vault)
                .erase(source: "test", id: "0", actor: "test")
            try await eventually("it is read") { try await isAsked(list) }
            try await occupyPermits(list)
            try await eventually("the deletion waits its turn") {
                try await list.pool.query(
                    """
                    select exists (select from koppeling.permit_wait where seen_at > koppeling.now() - interval '1 second')
                    """
                ).scalar()
            }
            try await list.put("8", #"{"emails": {"zakelijk": "\#(address)"}}"#)
            try await eventually("it is claimed") {
                try await list.pool.query("select exists (select from koppeling.claim)").scalar()
            }
            try await freePermits(list)
            try await list.quiet()
            #expect(try await list.status(address) == "subscribed")
            #expect(try await list.contact(address)?.merge_fields["LNAME"] == "Berg 8")
            #expect(try await list.membership("8") == "active rule")

            let outcome: String = try await list.pool.query("select outcome from koppeling.erasure_contact").scalar()
            #expect(outcome == "kept")
            try await list.put("8", isMember: false, #"{"emails": {"zakelijk": "\#(address)"}}"#)
            try await list.quiet()
            #expect(try await list.status(address) == "archived", "as anybody's who leaves")
        }
    }
}
