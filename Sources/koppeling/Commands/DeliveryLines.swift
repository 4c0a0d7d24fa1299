import Postgres

/// What a linked group's list has of a person, in lines.
enum DeliveryLines {
    struct Whole: Decodable { var delivery: Delivery? }

    struct Delivery: Decodable {
        struct Plan: Decodable {
            var plan: Int64
            var change: String
            var reason: String
            var held_because: String
        }
        struct Contact: Decodable {
            var address: String
            var status: String
            var ownership: String
            var last_changed: String?
            var seen_at: String?
            var note: String?
        }
        struct Invitation: Decodable {
            var requested_at: String
            var requested_by: String
            var sent_at: String?
            var ended_at: String?
            var outcome: String?
            var because: String?
            var waits_for: Int

            var line: String {
                let request = "Invitation: requested at \(requested_at) by \(requested_by)"
                if let outcome, let ended_at {
                    return "\(request), \(outcome) at \(ended_at)\(because.map { ": \($0)" } ?? "")."
                }
                if let sent_at { return "\(request), sent at \(sent_at); Mailchimp waits for the answer." }
                if waits_for > 0 {
                    return "\(request); it waits for \(waits_for) others at the address who said no to ask as well."
                }
                return "\(request), not sent yet."
            }
        }
        struct Action: Decodable {
            var action: String
            var state: String
            var at: String
            var reason: String?
            var waits_for: String?

            var cells: [String] {
                let waits: String? =
                    switch waits_for {
                    case "oscillation": "the address comes and goes too often: koppeling action run lets it"
                    case "template": "its template is manual: koppeling action run lets it"
                    default: nil
                    }
                return [at, action, state, reason ?? waits ?? ""]
            }
        }
        struct Hook: Decodable {
            var type: String?
            var received_at: String
        }
        var instance: String
        var is_enabled: Bool
        var off_because: String?
        var account: String
        var is_authenticated: Bool
        var is_held_out: Bool
        var is_dry_run: Bool
        var paused_reason: String?
        var is_activated: Bool
        var email_kind: String
        var address: String?
        var is_claimed: Bool
        var plan: Plan?
        var invitation: Invitation?
        var contact: Contact?
        var actions: [Action]
        var hooks: [Hook]
    }

    static func of(_ delivery: Delivery?) -> [String] {
        guard let delivery else { return ["", "The group is linked to no list."] }
        let because = delivery.off_because.map { ": \($0)" } ?? ""
        var lines = ["", "Instance '\(delivery.instance)'\(delivery.is_enabled ? "" : ", which is off\(because)")."]
        if !delivery.is_authenticated {
            lines.append(
                "Mailchimp refuses the credential of account '\(delivery.account)': "
                    + "koppeling account renew gives it another.")
        }
        if delivery.is_dry_run { lines.append("It is a dry run: it shows what it would do, and sends nothing.") }
        if let reason = delivery.paused_reason { lines.append("It is paused: \(reason).") }
        if !delivery.is_activated { lines.append("Its first plan was not approved yet.") }
        lines.append(delivery.address.map { "Address: \($0)." } ?? "No e-mail address (\(delivery.email_kind)).")
        if delivery.is_held_out {
            lines.append("Training holds this address out: koppeling environment addresses shows whom it lets in.")
        }
        if let plan = delivery.plan {
            lines.append("Plan \(plan.plan) would \(plan.change) (\(plan.reason)); it is held: \(plan.held_because).")
        }
        if !delivery.is_claimed { lines.append("Nothing claims the contact for this person.") }
        if let contact = delivery.contact {
            let changed = contact.last_changed.map { ", changed there at \($0)" } ?? ""
            let seen = contact.seen_at.map { ", seen at \($0)" } ?? ""
            lines.append(
                "Mailchimp has \(contact.address) as \(contact.status) (\(contact.ownership))\(changed)\(seen).")
            if let note = contact.note { lines.append("Not delivered: \(note).") }
        }
        if let invitation = delivery.invitation { lines.append(invitation.line) }
        lines += Listing.aligned(delivery.actions.map(\.cells))
        lines += delivery.hooks.map { "\($0.received_at)  Mailchimp reported: \($0.type ?? "unknown")" }
        return lines
    }
}
