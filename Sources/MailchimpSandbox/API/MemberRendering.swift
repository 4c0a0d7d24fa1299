/// How a member looks in the API.
struct MemberRendering {
    /// Which of his fields an answer has.
    enum Form {
        case whole
        /// As in the answers of bulk calls.
        case brief
        /// As a member of a segment.
        case ofSegment
    }

    private let form: Form
    private let audience: Audience
    private let links: Links?
    private let firstName: Int?
    private let lastName: Int?

    /// Without links nothing of them is made: they are half of an object.
    init(_ audience: Audience, links: Links?, form: Form = .whole) {
        self.audience = audience
        self.form = form
        self.links = links
        firstName = audience.mergeFields.firstIndex { $0.tag == "FNAME" }
        lastName = audience.mergeFields.firstIndex { $0.tag == "LNAME" }
    }

    func json(_ member: Member) -> JSON {
        let hash = member.hash.hex
        var object = JSONObject()
        object.pairs.reserveCapacity(32)
        object.append("id", .string(hash))
        object.append("email_address", .string(member.address))
        object.append("unique_email_id", .string(member.uniqueEmailID))
        if form != .ofSegment { object.append("contact_id", .string(member.contactID.hex)) }
        if form != .brief { object.append("full_name", .string(fullName(member))) }
        if form == .whole { object.append("web_id", .integer(member.webID)) }
        object.append("email_type", .string(member.emailType))
        object.append("status", .string(member.status.rawValue))
        if form == .whole, member.status == .unsubscribed {
            object.append("unsubscribe_reason", .string(member.consent.unsubscribeReason))
        }
        if form == .whole { object.append("consents_to_one_to_one_messaging", true) }
        object.append("merge_fields", merge(member))
        if !audience.choices.interests.isEmpty { object.append("interests", interests(member)) }
        if form == .whole, !audience.choices.permissions.isEmpty {
            object.append("marketing_permissions", permissions(member))
        }
        object.append("stats", ["avg_open_rate": 0, "avg_click_rate": 0])
        object.append("ip_signup", .string(member.ipSignup))
        object.append("timestamp_signup", .string(Timestamp.text(member.timestampSignup)))
        object.append("ip_opt", .string(member.ipOpt))
        object.append("timestamp_opt", .string(Timestamp.text(member.timestampOpt)))
        object.append("member_rating", 2)
        object.append("last_changed", .string(Timestamp.text(member.lastChanged)))
        object.append("language", .string(member.language))
        object.append("vip", .bool(member.isVIP))
        object.append("email_client", "")
        object.append(
            "location", ["latitude": 0, "longitude": 0, "gmtoff": 0, "dstoff": 0, "country_code": "", "timezone": ""])
        if form == .whole { object.append("source", .string(member.source)) }
        if form != .ofSegment {
            object.append("tags_count", .integer(member.tags.count))
            object.append("tags", tags(member))
        }
        object.append("list_id", .string(audience.id))
        if let links { object.append("_links", links.member(list: audience.id, hash: hash)) }
        return .object(object)
    }

    private func interests(_ member: Member) -> JSON {
        .object(
            JSONObject(
                pairs: audience.choices.interests.map {
                    .init(key: $0.id, value: .bool(member.agreements.interests.contains($0.id)))
                }))
    }

    private func permissions(_ member: Member) -> JSON {
        .list(
            audience.choices.permissions.map { permission in
                [
                    "marketing_permission_id": .string(permission.id), "text": .string(permission.text),
                    "enabled": .bool(member.agreements.permissions.contains(permission.id)),
                ]
            })
    }

    private func tags(_ member: Member) -> JSON {
        .list(
            member.tags.prefix(World.tagsShown).compactMap { tag in
                audience.segments[tag.segment].map { ["id": .integer($0.id), "name": .string($0.name)] }
            })
    }

    func merge(_ member: Member) -> JSON {
        var values = JSONObject()
        for (index, field) in audience.mergeFields.enumerated() {
            values.append(field.tag, index < member.merge.count ? member.merge[index] : "")
        }
        return .object(values)
    }

    private func fullName(_ member: Member) -> String {
        let parts = [firstName, lastName].compactMap { index in
            index.flatMap { $0 < member.merge.count ? member.merge[$0].string : nil }
        }
        return parts.filter { !$0.isEmpty }.joined(separator: " ")
    }
}
