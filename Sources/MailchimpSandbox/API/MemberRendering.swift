/// How a member looks in the API.
struct MemberRendering {
    private let audience: Audience
    private let links: Links?
    private let firstName: Int?
    private let lastName: Int?

    /// Without links nothing of them is made: they are half of an object.
    init(_ audience: Audience, links: Links?) {
        self.audience = audience
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
        object.append("contact_id", .string(member.contactID.hex))
        object.append("full_name", .string(fullName(member)))
        object.append("web_id", .integer(member.webID))
        object.append("email_type", .string(member.emailType))
        object.append("status", .string(member.status.rawValue))
        if member.status == .unsubscribed {
            object.append("unsubscribe_reason", .string(member.consent.unsubscribeReason))
        }
        object.append("consents_to_one_to_one_messaging", true)
        object.append("merge_fields", merge(member))
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
        object.append("source", .string(member.source))
        object.append("tags_count", 0)
        object.append("tags", [])
        object.append("list_id", .string(audience.id))
        if let links { object.append("_links", links.member(list: audience.id, hash: hash)) }
        return .object(object)
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
