import Postgres

/// What a linked group's list has of a person, in lines.
enum DeliveryLines {
    struct Whole: Decodable { var delivery: Delivery? }

    struct Delivery: Decodable {
        struct Plan: Decodable {
            var plan: Int64
            var change: String
            var reason: String
            var heldBecause: String
        }
        struct Contact: Decodable {
            var address: String
            var status: String
            var ownership: String
            var lastChanged: String?
            var seenAt: String?
            var note: String?
        }
        struct Invitation: Decodable {
            var requestedAt: String
            var requestedBy: String
            var sentAt: String?
            var endedAt: String?
            var outcome: String?
            var because: String?
            var waitsFor: Int

            var line: String {
                let request = "Invitation: requested at \(requestedAt) by \(requestedBy)"
                if let outcome, let endedAt {
                    return "\(request), \(outcome) at \(endedAt)\(because.map { ": \($0)" } ?? "")."
                }
                if let sentAt { return "\(request), sent at \(sentAt); Mailchimp waits for the answer." }
                if waitsFor > 0 {
                    return "\(request); it waits for \(waitsFor) others at the address who said no to ask as well."
                }
                return "\(request), not sent yet."
            }
        }
        struct Action: Decodable {
            var action: String
            var state: String
            var at: String
            var reason: String?
        }
        struct Hook: Decodable {
            var type: String?
            var receivedAt: String
        }
        var instance: String
        var isEnabled: Bool
        var pausedReason: String?
        var isActivated: Bool
        var emailKind: String
        var address: String?
        var isClaimed: Bool
        var plan: Plan?
        var invitation: Invitation?
        var contact: Contact?
        var actions: [Action]
        var hooks: [Hook]
    }

    static func of(_ delivery: Delivery?) -> [String] {
        guard let delivery else { return ["", "The group is linked to no list."] }
        var lines = ["", "Instance '\(delivery.instance)'\(delivery.isEnabled ? "" : ", which is off")."]
        if let reason = delivery.pausedReason { lines.append("It is paused: \(reason).") }
        if !delivery.isActivated { lines.append("Its first plan was not approved yet.") }
        lines.append(delivery.address.map { "Address: \($0)." } ?? "No e-mail address (\(delivery.emailKind)).")
        if let plan = delivery.plan {
            lines.append("Plan \(plan.plan) would \(plan.change) (\(plan.reason)); it is held: \(plan.heldBecause).")
        }
        if !delivery.isClaimed { lines.append("Nothing claims the contact for this person.") }
        if let contact = delivery.contact {
            let changed = contact.lastChanged.map { ", changed there at \($0)" } ?? ""
            let seen = contact.seenAt.map { ", seen at \($0)" } ?? ""
            lines.append(
                "Mailchimp has \(contact.address) as \(contact.status) (\(contact.ownership))\(changed)\(seen).")
            if let note = contact.note { lines.append("Not delivered: \(note).") }
        }
        if let invitation = delivery.invitation { lines.append(invitation.line) }
        lines += Listing.aligned(delivery.actions.map { [$0.at, $0.action, $0.state, $0.reason ?? ""] })
        lines += delivery.hooks.map { "\($0.receivedAt)  Mailchimp reported: \($0.type ?? "unknown")" }
        return lines
    }
}
