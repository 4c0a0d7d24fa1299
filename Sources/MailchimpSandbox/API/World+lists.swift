/// The account and its lists.
extension World {
    func root(_ account: Account, _ links: Links) -> Answer {
        let subscribers = lists(of: account.id).reduce(0) { $0 + ($1.count[.subscribed] ?? 0) }
        let contact: JSON = [
            "company": .string(account.name), "addr1": "", "addr2": "", "city": "", "state": "", "zip": "",
            "country": "NL",
        ]
        let body: JSON = [
            "account_id": .string(account.id), "login_id": .string(account.loginID),
            "account_name": .string(account.name),
            "email": "owner@sandbox.test", "first_name": "Sandbox", "last_name": "Owner", "username": "sandbox",
            "avatar_url": "", "role": "owner", "member_since": .string(Timestamp.text(account.created)),
            "pricing_plan_type": "monthly", "first_payment": "", "account_timezone": "Europe/Amsterdam",
            "account_industry": "", "contact": contact, "pro_enabled": false,
            "last_login": .string(Timestamp.text(now())),
            "total_subscribers": .integer(subscribers),
            "industry_stats": ["open_rate": 0, "bounce_rate": 0, "click_rate": 0],
            "_links": [
                links.link("self", "/", target: "Definitions/Root/Response"),
                links.link(
                    "lists", "/lists", target: "Definitions/Lists/CollectionResponse", schema: "Paths/Lists/Collection"),
            ],
        ]
        return .ok(body, schema: "Root/Instance")
    }

    func lists(_ call: Call, _ account: Account, _ links: Links) throws(Problem) -> Answer {
        let count = try call.query.number("count", default: 10, in: 0...1000)
        let offset = try call.query.number("offset", default: 0, in: 0...Int.max)
        var all = lists(of: account.id)
        if let address = call.query["email"] {
            let hash = HexID(address: address)
            all = all.filter { $0.slot(hash: hash) != nil }
        }
        let withTotal = call.query.flag("include_total_contacts")
        let page = all.dropFirst(offset).prefix(count).map { json($0, links, withTotal: withTotal) }
        let body: JSON = [
            "lists": .array(page), "total_items": .integer(all.count),
            "constraints": [
                "may_create": true, "max_instances": 100,
                "current_total_instances": .integer(lists(of: account.id).count),
            ],
            "_links": links.collection("/lists", parent: "/", schema: "Lists"),
        ]
        return .ok(body, schema: "Lists/Collection")
    }

    func list(_ id: String, _ account: Account, _ links: Links) throws(Problem) -> Answer {
        var answer = Answer.ok(json(try audience(id, account), links, withTotal: true), schema: "Lists/Instance")
        answer.dashboard = audiences[id].map { "\(links.admin)/lists/dashboard/overview?id=\($0.webID)" }
        return answer
    }

    private func json(_ audience: Audience, _ links: Links, withTotal: Bool) -> JSON {
        let path = "/lists/\(audience.id)"
        let archive = "https://sandbox.\(links.admin.dropFirst(8).prefix { $0 != "." }).list-manage.com"
        var stats: JSONObject = [
            "member_count": .integer(audience.count[.subscribed] ?? 0),
            "unsubscribe_count": .integer(audience.count[.unsubscribed] ?? 0),
            "cleaned_count": .integer(audience.count[.cleaned] ?? 0), "member_count_since_send": 0,
            "unsubscribe_count_since_send": 0, "cleaned_count_since_send": 0, "campaign_count": 0,
            "campaign_last_sent": "",
            "merge_field_count": .integer(audience.mergeFields.count), "avg_sub_rate": 0, "avg_unsub_rate": 0,
            "target_sub_rate": 0, "open_rate": 0, "click_rate": 0, "last_sub_date": "", "last_unsub_date": "",
        ]
        if withTotal { stats.append("total_contacts", .integer(audience.count.values.reduce(0, +))) }
        return [
            "id": .string(audience.id), "web_id": .integer(audience.webID), "name": .string(audience.name),
            "contact": [
                "company": "Sandbox", "address1": "", "address2": "", "city": "", "state": "", "zip": "",
                "country": "NL",
                "phone": "",
            ],
            "permission_reminder": "You are receiving this because you asked for it.", "use_archive_bar": true,
            "campaign_defaults": [
                "from_name": "Sandbox", "from_email": "owner@sandbox.test", "subject": "", "language": "en",
            ],
            "notify_on_subscribe": "", "notify_on_unsubscribe": "",
            "date_created": .string(Timestamp.text(audience.created)), "list_rating": 0, "email_type_option": false,
            "subscribe_url_short": "http://eepurl.com/\(audience.id.prefix(6))",
            "subscribe_url_long": "\(archive)/subscribe?u=\(audience.account)&id=\(audience.id)",
            "beamer_address": "sandbox-\(audience.id)@inbound.mailchimp.com", "visibility": "prv",
            "double_optin": .bool(audience.isDoubleOptIn), "has_welcome": false, "marketing_permissions": false,
            "modules": [],
            "stats": .object(stats),
            "_links": [
                links.link("self", path, target: "Definitions/Lists/Response"),
                links.link(
                    "parent", "/lists", target: "Definitions/Lists/CollectionResponse", schema: "Paths/Lists/Collection"
                ),
                links.link("batch-sub-members", path, "POST", target: "Definitions/Lists/BatchPOST-Response"),
                links.link("members", "\(path)/members", target: "Definitions/Lists/Members/CollectionResponse"),
                links.link(
                    "merge-fields", "\(path)/merge-fields", target: "Definitions/Lists/MergeFields/CollectionResponse"),
                links.link("webhooks", "\(path)/webhooks", target: "Definitions/Lists/Webhooks/CollectionResponse"),
            ],
        ]
    }
}
