extension SandboxSwitches {
    /// A switch by the name that the control door and the documentation use, with what it means when it is on.
    typealias Named = (name: String, meaning: String, path: any WritableKeyPath<SandboxSwitches, Bool> & Sendable)

    static var names: [Named] {
        [
            (
                "pending_after_own_unsubscribe", "who unsubscribed himself can be made pending",
                \.pendingAfterOwnUnsubscribe
            ),
            ("pending_to_subscribed", "the API can confirm a pending contact", \.pendingToSubscribed),
            ("cleaned_to_unsubscribed", "a cleaned contact can be unsubscribed", \.cleanedToUnsubscribed),
            ("cleaned_to_pending", "a cleaned contact can be made pending", \.cleanedToPending),
            (
                "archive_hides_refusal", "archiving hides an own no or a bounce, so that the API can subscribe again",
                \.archiveHidesRefusal
            ),
            (
                "archived_unsubscribe_is_hidden", "an archived contact who unsubscribes stays archived to the API",
                \.archivedUnsubscribeIsHidden
            ),
            (
                "bulk_revives_archived", "a bulk call takes an archived contact for a new one; otherwise he exists",
                \.bulkRevivesArchived
            ),
            (
                "bulk_refuses_silently", "a bulk update leaves a refused status as it is without an error",
                \.bulkRefusesSilently
            ),
            ("bulk_fires_webhooks", "bulk calls fire webhooks with source api", \.bulkFiresWebhooks),
            ("bulk_applies_tags", "a bulk call looks at the tags of its members", \.bulkAppliesTags),
            ("segments_count_present", "a member who is in a segment already counts as added", \.segmentsCountPresent),
            (
                "refuses_unknown_choices",
                "an interest or a permission that the list does not have is 400; otherwise it is ignored",
                \.refusesUnknownChoices
            ),
            ("checks_phones", "a phone number must be American where its field says so", \.checksPhones),
            ("allows_many_merge_fields", "a list may have 80 merge fields; otherwise 30", \.allowsManyMergeFields),
            ("statistics_are_late", "the figures of a list are late by a look and five minutes", \.statisticsAreLate),
            (
                "listing_hides_archived", "a listing without a status leaves archived contacts out",
                \.listingHidesArchived
            ),
            ("since_is_inclusive", "since_last_changed includes its own instant", \.sinceIsInclusive),
            ("state_errors_lack_type", "the member-state errors come without type", \.stateErrorsLackType),
            (
                "refuses_both_field_lists", "fields with exclude_fields is 422; otherwise fields wins",
                \.refusesBothFieldLists
            ),
            (
                "refuses_unknown_fields",
                "a GET whose fields names what the answer does not have is 422; otherwise it is ignored",
                \.refusesUnknownFields
            ),
            (
                "refuses_large_pages", "a count above 1000 is 400; otherwise the page has 1000", \.refusesLargePages
            ),
            (
                "refuses_fake_addresses", "addresses at example.com, example.org and the like are refused as fake",
                \.refusesFakeAddresses
            ),
            ("signs_webhooks", "webhooks made from now on are signed", \.signsWebhooks),
            (
                "fired_at_is_local", "fired_at of webhooks is in the account's time zone; otherwise in UTC",
                \.firedAtIsLocal
            ),
            ("closes_connections", "every answer ends its connection", \.closesConnections),
        ]
    }
}
