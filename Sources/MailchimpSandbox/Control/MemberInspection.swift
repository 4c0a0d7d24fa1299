/// A member as the control door shows him: with what the API does not tell.
struct MemberInspection {
    private let audience: Audience
    private let rendering: MemberRendering

    init(_ audience: Audience) {
        self.audience = audience
        rendering = MemberRendering(audience, links: nil)
    }

    func json(_ member: Member) -> JSON {
        let consent = member.consent
        let no = consent.ownNo.map { no -> JSON in
            ["kind": .string(no.kind.rawValue), "at": .string(Timestamp.text(no.at))]
        }
        let history = member.history.map { entry -> JSON in
            ["at": .string(Timestamp.text(entry.at)), "by": .string(entry.party.rawValue), "what": .string(entry.what)]
        }
        return [
            "id": .string(member.hash.hex), "email_address": .string(member.address),
            "contact_id": .string(member.contactID.hex), "web_id": .integer(member.webID),
            "status": .string(member.status.rawValue), "beneath": consent.beneath.map { .string($0.rawValue) } ?? .null,
            "unsubscribed_by": consent.unsubscribedBy.map { .string($0.rawValue) } ?? .null,
            "unsubscribe_reason": .string(consent.unsubscribeReason), "own_no": no ?? .null,
            "merge_fields": rendering.merge(member),
            "tags": .strings(member.tags.compactMap { audience.segments[$0.segment]?.name }),
            "interests": .strings(
                audience.choices.interests.filter { member.agreements.interests.contains($0.id) }.map(\.name)),
            "source": .string(member.source),
            "timestamp_opt": .string(Timestamp.text(member.timestampOpt)),
            "last_changed": .string(Timestamp.text(member.lastChanged)), "writes": .integer(member.writes.all),
            "unchanged_writes": .integer(member.writes.unchanged),
            "subscribing_writes": .integer(member.writes.subscribing), "history": .array(history),
        ]
    }
}
