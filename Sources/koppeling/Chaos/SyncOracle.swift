import FoundationEssentials
import Postgres

/// What must be true of the list once everything is still, judged by what was done and not by what the program wrote.
struct SyncOracle: Sendable {
    /// A contact as the sandbox holds it, with what the API does not tell.
    struct Contact: Sendable, Decodable {
        struct Entry: Sendable, Decodable {
            var at: String
            var by: String
            var what: String

            var makesSubscribed: Bool { what == "created subscribed" || what.hasSuffix(" to subscribed") }
        }

        struct OwnNo: Sendable, Decodable { var at: String }

        var email_address: String
        var contact_id: String
        var status: String
        var own_no: OwnNo?
        var merge_fields: [String: String]
        var writes: Int
        var history: [Entry]

        /// Who made the contact subscribed last.
        var subscribedBy: Entry? { history.last { $0.makesSubscribed } }
        /// Whether he himself came to be subscribed after a moment.
        func saidYes(after moment: Date) -> Bool {
            history.contains {
                $0.by == "contact" && $0.makesSubscribed
                    && (try? Date($0.at, strategy: .iso8601)).map { $0 > moment } ?? false
            }
        }
        /// Whether nobody but the program ever did anything to it.
        var isOurs: Bool { history.allSatisfy { $0.by == "api" } }
    }

    let world: StandInWorld
    let door: SandboxDoor

    /// Everything that is not as it must be, a line each.
    func findings(_ scene: SyncScene) async throws -> [String] {
        let contacts = try await contacts()
        let byAddress = Dictionary(contacts.map { ($0.email_address.lowercased(), $0) }) { first, _ in first }
        var found = cleanFamilies(scene, byAddress) + nos(scene, byAddress) + unwanted(scene, contacts)
        found += try await memberships(byAddress)
        found += try await knowledge(contacts)
        return try await found + stuck()
    }

    /// What the database, and the sandbox, hold of these addresses: where to look first when something is wrong.
    func stories(_ addresses: Set<String>) async throws -> [String] {
        let rows = try await world.pool.query(
            """
            with concerned as (
                select m.* from koppeling.audience_member m
                where m.address_key = any (\(Array(addresses))::text[])
                   or m.id in (select c.member_id from koppeling.claim c
                               where c.address_key = any (\(Array(addresses))::text[]))
            )
            select 'contact ' || (to_jsonb(m) - 'merge_fields')::text as line from concerned m
            union all
            select 'claim ' || to_jsonb(c)::text from koppeling.claim c where c.member_id in (select id from concerned)
            union all
            select 'membership ' || to_jsonb(m)::text
            from koppeling.membership m
            join koppeling.email_address e on e.person_id = m.person_id
            where e.address_key = any (\(Array(addresses))::text[])
            union all
            select 'restored ' || to_jsonb(r)::text from koppeling.restored_no r
            where lower(r.address) = any (\(Array(addresses))::text[])
            union all
            select 'ledger ' || to_jsonb(s)::text from koppeling.open_suppression s
            where s.address_key = any (\(Array(addresses))::text[])
            union all
            (select 'job ' || to_jsonb(h)::text from koppeling.job_history h
             where h.kind = 'action' and (h.args ->> 'member')::bigint in (select id from concerned)
             order by h.finished_at)
            """)
        return try await rows.map { try $0.decode("line") }
            + contacts().filter { addresses.contains($0.email_address.lowercased()) }.map { contact in
                "Mailchimp: \(contact.email_address) \(contact.contact_id) "
                    + contact.history.map { "\($0.at) \($0.by) \($0.what)" }.joined(separator: "; ")
            }
    }

    private func contacts() async throws -> [Contact] {
        struct Page: Decodable { var members: [Contact] }
        let page: Page = try await door.send("GET", "lists/\(door.list)/members?count=10000").decode()
        return page.members
    }

    /// Where nothing was said or done in Mailchimp, the list holds exactly who is wanted, by their names.
    private func cleanFamilies(_ scene: SyncScene, _ contacts: [String: Contact]) -> [String] {
        var found: [String] = []
        for family in 0..<scene.families where !SyncScene.isNoisy(family) {
            for address in scene.addresses[family] {
                let wanted = scene.wanted(at: address)
                let contact = contacts[address]
                if wanted.isEmpty {
                    if let contact, contact.status != "archived" {
                        found.append("\(address) is \(contact.status), and nobody wants it")
                    }
                } else if contact?.status != "subscribed" {
                    found.append("\(address) is wanted, and it is \(contact?.status ?? "absent")")
                } else if let fields = contact?.merge_fields,
                    !wanted.contains(where: { $0.first == fields["FNAME"] && $0.last == fields["LNAME"] })
                {
                    found.append("\(address) has the fields \(fields), wanted \(wanted)")
                }
            }
        }
        return found
    }

    /// Whoever said no is not subscribed, unless he himself or an admin of the list did it after that.
    private func nos(_ scene: SyncScene, _ contacts: [String: Contact]) -> [String] {
        var found: [String] = []
        for contact in contacts.values where contact.status == "subscribed" && contact.own_no != nil {
            if contact.subscribedBy?.by == "api" { found.append("\(contact.email_address) said no and is subscribed") }
        }
        for person in scene.persons {
            guard let no = person.no, let address = no.address, let contact = contacts[address],
                contact.status == "subscribed"
            else { continue }
            let at = Date(timeIntervalSince1970: Double(no.at - 2))
            guard let entry = contact.subscribedBy,
                entry.by == "api" || (try? Date(entry.at, strategy: .iso8601)).map({ $0 < at }) ?? false
            else { continue }
            // A yes of the contact after it may be the answer to an invitation, and then the no is over.
            if person.isInvited, contact.saidYes(after: at) { continue }
            found.append(
                "person \(person.id) said no to a user, and \(address) is subscribed, since \(entry.at) by \(entry.by)")
        }
        return found
    }

    /// A contact that only the program ever touched stands there for somebody.
    private func unwanted(_ scene: SyncScene, _ contacts: [Contact]) -> [String] {
        contacts.compactMap { contact in
            guard contact.isOurs, contact.status == "subscribed",
                scene.wanted(at: contact.email_address.lowercased()).isEmpty
            else { return nil }
            return "\(contact.email_address) was put there by us, and nobody wants it"
        }
    }

    /// Whoever holds an address whose contact said no, or bounced, is no active member.
    private func memberships(_ contacts: [String: Contact]) async throws -> [String] {
        let addresses = contacts.values.filter {
            $0.status == "unsubscribed" && $0.own_no != nil || $0.status == "cleaned"
        }.map { $0.email_address.lowercased() }
        let rows = try await world.pool.query(
            """
            select p.external_id || ' is an active member, and holds ' || e.address_key as line
            from koppeling.membership m
            join koppeling.person p on p.id = m.person_id
            join koppeling.email_address e on e.person_id = p.id
            where m.status = 'active' and e.address_key = any (\(addresses)::text[])
            """)
        return try rows.map { "person \(try $0.decode("line", as: String.self))" }
    }

    /// What is known of the list is what the list holds; of a no and an archive within one second the no may stay.
    private func knowledge(_ contacts: [Contact]) async throws -> [String] {
        let rows = try await world.pool.query(
            """
            select c.id, c.address, c.status, m.status as known, m.address_key as known_address
            from unnest(\(contacts.map(\.contact_id))::text[], \(contacts.map { $0.email_address.lowercased() })::text[],
                \(contacts.map(\.status))::text[], \(contacts.map { $0.history.last?.at ?? "" })::text[])
                c (id, address, status, changed)
            full join (select * from koppeling.audience_member where contact_id is not null) m on m.contact_id = c.id
            where (c.address, c.status) is distinct from (m.address_key, m.status)
              and (c.address, c.status, m.status, nullif(c.changed, '')::timestamptz) is distinct from
                  (m.address_key, 'archived', 'unsubscribed', m.last_changed)
            """)
        return try rows.map { row in
            let there =
                "\(try row.decode("address", as: String?.self) ?? "-") \(try row.decode("status", as: String?.self) ?? "-")"
            let known =
                "\(try row.decode("known_address", as: String?.self) ?? "-") \(try row.decode("known", as: String?.self) ?? "-")"
            return "the list holds \(there), and known is \(known)"
        }
    }

    /// Nothing waits any more, nothing was given up, and every claim is served or has a reason.
    private func stuck() async throws -> [String] {
        let rows = try await world.pool.query(
            """
            select 'action ' || (j.args ->> 'action') || ' of ' || m.address || ' waits' as line
            from koppeling.job j
            join koppeling.audience_member m on m.id = (j.args ->> 'member')::bigint
            where j.kind = 'action'
            union all
            select 'action of ' || m.address || ' was rejected: ' || coalesce(h.reason, '')
            from koppeling.job_history h
            join koppeling.audience_member m on m.id = (h.args ->> 'member')::bigint
            where h.kind = 'action' and h.outcome not in ('done', 'cancelled') and h.args ->> 'action' <> 'invite'
            union all
            select 'the claim on ' || m.address || ' is not served: it is ' || coalesce(m.status, 'unknown')
            from koppeling.claim c
            join koppeling.audience_member m on m.id = c.member_id
            where m.note is null and m.status is distinct from 'subscribed'
            union all
            select 'the instance is paused: ' || i.paused_reason
            from koppeling.connector_instance i where i.paused_reason is not null
            union all
            select m.address || ' still has the intent ' || m.intent
            from koppeling.audience_member m where m.intent is not null
            """)
        return try rows.map { try $0.decode("line") }
    }
}
