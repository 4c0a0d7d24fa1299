/// The account and its lists.
extension World {
    func root(_ account: Account, _ user: User?, _ links: Links) -> Answer {
        let subscribers = lists(of: account.id).reduce(0) { $0 + statistics($1).subscribed }
        let names = (user?.name ?? "").split(separator: " ", maxSplits: 1)
        let contact: JSON = [
            "company": .string(account.name), "addr1": "", "addr2": "", "city": "", "state": "", "zip": "",
            "country": "NL",
        ]
        let body: JSON = [
            "account_id": .string(account.id), "login_id": .string(user?.id ?? ""),
            "account_name": .string(account.name), "email": .string(user?.email ?? ""),
            "first_name": .string(String(names.first ?? "")),
            "last_name": .string(names.dropFirst().joined(separator: " ")),
            "username": .string(user?.loginName ?? ""), "avatar_url": "", "role": .string(user?.role.rawValue ?? ""),
            "member_since": .string(Timestamp.text(account.created)), "pricing_plan_type": "monthly",
            "first_payment": "", "account_timezone": "Europe/Amsterdam", "account_industry": "", "contact": contact,
            "pro_enabled": false, "last_login": .string(Timestamp.text(now())),
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
        let page = try paging(call)
        let created = try Span(call.query, "date_created")
        var all = lists(of: account.id).filter { created.holds($0.created) }
        if let address = call.query["email"] {
            let hash = HexID(address: address)
            all = all.filter { $0.slot(hash: hash) != nil }
        }
        if call.query["sort_dir"]?.uppercased() == "DESC" { all.reverse() }
        let withTotal = call.query.flag("include_total_contacts")
        let body: JSON = [
            "lists": .list(page.of(all).map { json($0, links, withTotal: withTotal) }),
            "total_items": .integer(all.count),
            "constraints": [
                "may_create": true, "max_instances": 100,
                "current_total_instances": .integer(lists(of: account.id).count),
            ],
            "_links": links.collection("/lists", parent: "/", schema: "Lists"),
        ]
        return .ok(body, schema: "Lists/Collection")
    }

    func addList(_ call: Call, _ account: Account, _ links: Links) throws(Problem) -> Answer {
        let body = try call.object()
        let missing = ListSettings.required.filter { body[$0] == nil }
        guard missing.isEmpty else { throw .missing(missing) }
        var settings = ListSettings(name: "", isDoubleOptIn: false)
        try settings.take(body)
        let audience = addList(name: settings.name, account: account.id)
        set(settings, of: audience)
        return list(call, audience, links)
    }

    func changeList(_ call: Call, _ audience: Audience, _ links: Links) throws(Problem) -> Answer {
        var settings = audience.settings
        try settings.take(try call.object())
        set(settings, of: audience)
        return list(call, audience, links)
    }

    func removeList(_ audience: Audience) -> Answer {
        audiences[audience.id] = nil
        listOrder.removeAll { $0 == audience.id }
        return .noContent
    }

    func list(_ call: Call, _ audience: Audience, _ links: Links) -> Answer {
        let withTotal = call.query.flag("include_total_contacts")
        var answer = Answer.ok(json(audience, links, withTotal: withTotal), schema: "Lists/Instance")
        answer.dashboard = "\(links.admin)/lists/dashboard/overview?id=\(audience.webID)"
        return answer
    }

    /// Changes the settings of a list; one that asks for permissions gets them when it first does.
    func set(_ settings: ListSettings, of audience: Audience) {
        audience.settings = settings
        if settings.asksForPermissions, audience.choices.permissions.isEmpty {
            audience.choices.permissions = Choices.permissionTexts.map { MarketingPermission(id: newID(10), text: $0) }
        }
    }

    private func json(_ audience: Audience, _ links: Links, withTotal: Bool) -> JSON {
        let path = "/lists/\(audience.id)"
        let archive = "https://sandbox.\(links.admin.dropFirst(8).prefix { $0 != "." }).list-manage.com"
        let settings = audience.settings
        return [
            "id": .string(audience.id), "web_id": .integer(audience.webID), "name": settings["name"],
            "contact": settings["contact"], "permission_reminder": settings["permission_reminder"],
            "use_archive_bar": settings["use_archive_bar"], "campaign_defaults": settings["campaign_defaults"],
            "notify_on_subscribe": settings["notify_on_subscribe"],
            "notify_on_unsubscribe": settings["notify_on_unsubscribe"],
            "date_created": .string(Timestamp.text(audience.created)), "list_rating": 0,
            "email_type_option": settings["email_type_option"],
            "subscribe_url_short": "http://eepurl.com/\(audience.id.prefix(6))",
            "subscribe_url_long": "\(archive)/subscribe?u=\(audience.account)&id=\(audience.id)",
            "beamer_address": "sandbox-\(audience.id)@inbound.mailchimp.com", "visibility": "prv",
            "double_optin": settings["double_optin"], "has_welcome": false,
            "marketing_permissions": settings["marketing_permissions"], "modules": [],
            "stats": stats(audience, withTotal: withTotal), "_links": listLinks(path, links),
        ]
    }

    private func stats(_ audience: Audience, withTotal: Bool) -> JSON {
        let figures = statistics(audience)
        var stats: JSONObject = [
            "member_count": .integer(figures.subscribed), "unsubscribe_count": .integer(figures.unsubscribed),
            "cleaned_count": .integer(figures.cleaned), "member_count_since_send": .integer(figures.subscribed),
            "unsubscribe_count_since_send": .integer(figures.unsubscribed),
            "cleaned_count_since_send": .integer(figures.cleaned), "campaign_count": 0, "campaign_last_sent": "",
            "merge_field_count": .integer(audience.mergeFields.count), "avg_sub_rate": 0, "avg_unsub_rate": 0,
            "target_sub_rate": 0, "open_rate": 0, "click_rate": 0,
            "last_sub_date": .string(Timestamp.text(figures.lastSubscribed)),
            "last_unsub_date": .string(Timestamp.text(figures.lastUnsubscribed)),
        ]
        if withTotal { stats.append("total_contacts", .integer(figures.total)) }
        return .object(stats)
    }

    private func listLinks(_ path: String, _ links: Links) -> JSON {
        let collections = [
            ("members", "Members"), ("merge-fields", "MergeFields"), ("segments", "Segments"),
            ("interest-categories", "InterestCategories"), ("webhooks", "Webhooks"),
        ]
        return .array(
            [
                links.link("self", path, target: "Definitions/Lists/Response"),
                links.link(
                    "parent", "/lists", target: "Definitions/Lists/CollectionResponse", schema: "Paths/Lists/Collection"
                ),
                links.link("update", path, "PATCH", target: "Definitions/Lists/Response"),
                links.link("batch-sub-members", path, "POST", target: "Definitions/Lists/BatchPOST-Response"),
                links.link("delete", path, "DELETE"),
            ]
                + collections.map {
                    links.link($0.0, "\(path)/\($0.0)", target: "Definitions/Lists/\($0.1)/CollectionResponse")
                })
    }
}
