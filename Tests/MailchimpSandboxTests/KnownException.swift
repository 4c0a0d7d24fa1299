import HTTPClient

@testable import MailchimpSandbox

/// Where the real answers differ from the specification, or where it cannot say what depends on what.
///
/// Nothing else is let through; ``ConformanceTests`` shows that each is still needed.
enum KnownException: String, CaseIterable, Sendable {
    /// Recorded: a time that is not there is an empty text and neither absent nor null.
    case absentTime
    /// Recorded: the three errors about a member's state come without `type`.
    case stateErrorWithoutType
    /// Recorded: errors about fields bring them in `errors`, which the specification leaves out.
    case errorsOfFields
    /// Recorded: merge values are texts and numbers; the specification calls all of them objects.
    case mergeValues
    /// What a member has only in some accounts, lists or states.
    case conditionalPartsOfMember
    /// Recorded: the place of a member has no region.
    case noRegion
    /// A shop's figures are there only with a shop.
    case noShop
    /// The total of contacts comes only when asked for.
    case noTotal
    /// Each action in an activity has other details.
    case partsOfActivity
    /// Each kind of merge field has other options.
    case optionsOfKind
    /// A static segment has no conditions.
    case noConditions
    /// Webhooks are signed since 2026, which the specification does not know yet.
    case signedWebhooks
    /// Not every link names a schema.
    case linkWithoutSchema

    func covers(_ finding: Finding, in answer: JSON) -> Bool {
        let place = "\(finding.object).\(finding.field)"
        switch (self, finding.fault) {
        case (.absentTime, .value("")): return true
        case (.stateErrorWithoutType, .missing):
            let titles = ["Member Exists", "Member In Compliance State", "Forgotten Email Not Subscribed"]
            return place == "Problem.type" && titles.contains(answer["title"]?.string ?? "")
        case (.errorsOfFields, .unknown): return place == "Problem.errors"
        case (.mergeValues, .type("string")), (.mergeValues, .type("integer")), (.mergeValues, .type("number")):
            return finding.field == "merge_fields"
        case (.conditionalPartsOfMember, .missing):
            let parts = [
                "interests", "last_note", "marketing_permissions", "sms_phone_number", "sms_subscription_last_updated",
                "sms_subscription_status", "unsubscribe_reason",
            ]
            return ["Member", "BriefMember", "SegmentMember"].contains(finding.object) && parts.contains(finding.field)
        case (.noRegion, .missing): return place == "MemberLocation.region"
        case (.noShop, .missing): return place == "MemberStats.ecommerce_data"
        case (.noTotal, .missing): return place == "ListStats.total_contacts"
        case (.partsOfActivity, .missing):
            return finding.object == "ActivityEntry" && finding.field != "action" && finding.field != "timestamp"
        case (.optionsOfKind, .missing): return finding.object == "MergeFieldOptions"
        case (.noConditions, .missing): return place == "Segment.options" && answer["type"]?.string != "saved"
        case (.signedWebhooks, .unknown):
            return place == "Webhook.signing_enabled" || place == "Webhook.signing_secret"
        case (.linkWithoutSchema, .missing): return place == "Link.schema" || place == "Link.targetSchema"
        default: return false
        }
    }
}

/// The check of an answer of the API.
enum Conformance {
    /// What is wrong with an answer, known exceptions included.
    static func findings(_ method: String, _ target: String, _ reading: Reading) -> [Finding] {
        let parts = target.split(separator: "?", maxSplits: 1)
        let query = Query(parts.count > 1 ? String(parts[1]) : nil)
        let path = String(parts[0].dropFirst(Call.marketing.count))
        let body = reading.json
        func wrong(_ field: String) -> Finding { Finding(object: "Answer", field: field, fault: .value("wrong")) }
        var findings: [Finding] = []
        switch reading.status {
        case 204: findings += reading.response.body.isEmpty ? [] : [wrong("body")]
        case 200:
            let isPartial = query["fields"] != nil || query["exclude_fields"] != nil
            guard let object = ShapeBook.official.object(of: method, path) else { return [wrong("call")] }
            findings += ShapeBook.official.findings(in: body, as: object, isPartial: isPartial)
        default:
            findings += ShapeBook.official.findings(in: body, as: "Problem", isPartial: false)
            if body["status"] != .integer(reading.status) { findings.append(wrong("status")) }
            if body["instance"]?.string != reading.response.header("X-Request-Id") {
                findings.append(wrong("instance"))
            }
            if (reading.status == 405) != (reading.response.header("Allow") != nil) { findings.append(wrong("Allow")) }
        }
        let type = reading.status < 300 ? "application/json" : "application/problem+json"
        if reading.response.header("Content-Type")?.hasPrefix(type) != true { findings.append(wrong("Content-Type")) }
        if reading.response.header("X-Request-Id")?.isEmpty != false { findings.append(wrong("X-Request-Id")) }
        return findings
    }

    /// What is wrong with an answer and no known exception.
    static func faults(_ method: String, _ target: String, _ reading: Reading) -> [Finding] {
        Set(findings(method, target, reading)).filter { finding in
            !KnownException.allCases.contains { $0.covers(finding, in: reading.json) }
        }.sorted { $0.description < $1.description }
    }
}
