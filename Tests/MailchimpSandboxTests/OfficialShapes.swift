/// The shapes of answers by the official specification of the API, version 3.0.85, as facts: which field of which
/// answer has which type.
///
/// Made by a script that walks the specification from each call below to its answer for 200, and to the answer for
/// errors, resolves references and `allOf`, and writes each distinct object once: its fields in the order of the
/// alphabet, each with its type. `time` is a string in the format `date-time`, `[T]` an array of T, `{T}` an object
/// whose values are T, `any` what the specification leaves open, `!` a field that is called required, and values in
/// parentheses are the only ones. The names of the objects are this project's own.
enum OfficialShapes {
    /// Methods, path, and the object that a 200 carries.
    static let calls = """
        GET / Root
        GET /ping Ping
        GET /batches Batches
        POST /batches Batch
        GET /batches/{batch} Batch
        GET /lists Lists
        POST /lists List
        GET,PATCH /lists/{list} List
        POST /lists/{list} Bulk
        GET /lists/{list}/members Members
        POST /lists/{list}/members Member
        GET,PUT,PATCH /lists/{list}/members/{member} Member
        GET /lists/{list}/members/{member}/activity Activity
        GET /lists/{list}/members/{member}/tags MemberTagList
        GET /lists/{list}/tag-search TagSearch
        GET /lists/{list}/segments Segments
        POST /lists/{list}/segments Segment
        GET,PATCH /lists/{list}/segments/{segment} Segment
        POST /lists/{list}/segments/{segment} SegmentBulk
        GET /lists/{list}/segments/{segment}/members SegmentMembers
        POST /lists/{list}/segments/{segment}/members SegmentMember
        GET /lists/{list}/interest-categories Categories
        POST /lists/{list}/interest-categories Category
        GET,PATCH /lists/{list}/interest-categories/{category} Category
        GET /lists/{list}/interest-categories/{category}/interests Interests
        POST /lists/{list}/interest-categories/{category}/interests Interest
        GET,PATCH /lists/{list}/interest-categories/{category}/interests/{interest} Interest
        GET /lists/{list}/merge-fields MergeFields
        POST /lists/{list}/merge-fields MergeField
        GET,PATCH /lists/{list}/merge-fields/{field} MergeField
        GET /lists/{list}/webhooks Webhooks
        POST /lists/{list}/webhooks Webhook
        GET,PATCH /lists/{list}/webhooks/{webhook} Webhook
        """

    /// Objects and their fields; an indented line goes on with the one before.
    static let objects = """
        Link: href string, method string(GET|POST|PUT|PATCH|DELETE|OPTIONS|HEAD), rel string, schema string,
          targetSchema string
        ListCampaignDefaults: from_email string, from_name string, language string, subject string
        ListContact: address1 string, address2 string, city string, company string, country string, phone string, state
          string, zip string
        ListStats: avg_sub_rate number, avg_unsub_rate number, campaign_count integer, campaign_last_sent time,
          cleaned_count integer, cleaned_count_since_send integer, click_rate number, last_sub_date time,
          last_unsub_date time, member_count integer, member_count_since_send integer, merge_field_count integer,
          open_rate number, target_sub_rate number, total_contacts integer, unsubscribe_count integer,
          unsubscribe_count_since_send integer
        List: _links [Link], beamer_address string, campaign_defaults ListCampaignDefaults, contact ListContact,
          date_created time, double_optin boolean, email_type_option boolean, has_welcome boolean, id string,
          list_rating integer, marketing_permissions boolean, modules [string], name string, notify_on_subscribe string,
          notify_on_unsubscribe string, permission_reminder string, stats ListStats, subscribe_url_long string,
          subscribe_url_short string, use_archive_bar boolean, visibility string(pub|prv), web_id integer
        Note: created_at time, created_by string, note string, note_id integer
        MemberLocation: country_code string, dstoff integer, gmtoff integer, latitude number, longitude number, region
          string, timezone string
        MarketingPermission: enabled boolean, marketing_permission_id string, text string
        EcommerceData: currency_code string, number_of_orders number, total_revenue number
        MemberStats: avg_click_rate number, avg_open_rate number, ecommerce_data EcommerceData
        Tag: id integer, name string
        Member: _links [Link], consents_to_one_to_one_messaging boolean, contact_id string, email_address string,
          email_client string, email_type string, full_name string, id string, interests {boolean}, ip_opt string,
          ip_signup string, language string, last_changed time, last_note Note, list_id string, location MemberLocation,
          marketing_permissions [MarketingPermission], member_rating integer, merge_fields {{any}}, sms_phone_number
          string, sms_subscription_last_updated string, sms_subscription_status
          string(subscribed|unsubscribed|nonsubscribed|pending), source string, stats MemberStats, status
          string(subscribed|unsubscribed|cleaned|pending|transactional|archived), tags [Tag], tags_count integer,
          timestamp_opt time, timestamp_signup time, unique_email_id string, unsubscribe_reason string, vip boolean,
          web_id integer
        SegmentOptions: conditions [any], match string(any|all)
        Segment: _links [Link], created_at time, id integer, list_id string, member_count integer, name string, options
          SegmentOptions, type string(saved|static|fuzzy), updated_at time
        Category: _links [Link], display_order integer, id string, list_id string, title string, type
          string(checkboxes|dropdown|radio|hidden)
        Interest: _links [Link], category_id string, display_order integer, id string, list_id string, name string,
          subscriber_count string
        MergeFieldOptions: choices [string], date_format string, default_country integer, phone_format string, size
          integer
        MergeField: _links [Link], default_value string, display_order integer, help_text string, list_id string,
          merge_id integer, name string, options MergeFieldOptions, public boolean, required boolean, tag string, type
          string(text|number|address|phone|date|url|imageurl|radio|dropdown|birthday|zip)
        WebhookEvents: campaign boolean, cleaned boolean, profile boolean, subscribe boolean, unsubscribe boolean,
          upemail boolean
        WebhookSources: admin boolean, api boolean, user boolean
        Webhook: _links [Link], events WebhookEvents, id string, list_id string, sources WebhookSources, url string
        RootContact: addr1 string, addr2 string, city string, company string, country string, state string, zip string
        RootIndustryStats: bounce_rate number, click_rate number, open_rate number
        Root: _links [Link], account_id string, account_industry string, account_name string, account_timezone string,
          avatar_url string, contact RootContact, email string, first_name string, first_payment time, industry_stats
          RootIndustryStats, last_login time, last_name string, login_id string, member_since time, pricing_plan_type
          string(monthly|pay_as_you_go|forever_free), pro_enabled boolean, role string, total_subscribers integer,
          username string
        Ping: health_status string
        Batch: _links [Link], completed_at time, errored_operations integer, finished_operations integer, id string,
          response_body_url string, status string(pending|preprocessing|started|finalizing|finished), submitted_at time,
          total_operations integer
        Batches: _links [Link], batches [Batch], total_items integer
        Constraints: current_total_instances integer, max_instances! integer, may_create! boolean
        Lists: _links [Link], constraints Constraints, lists! [List], total_items integer
        BulkError: email_address string, error string, error_code string(ERROR_CONTACT_EXISTS|ERROR_GENERIC), field
          string, field_message string
        BriefLocation: country_code string, dstoff integer, gmtoff integer, latitude number, longitude number, timezone
          string
        BriefStats: avg_click_rate number, avg_open_rate number
        BriefMember: _links [Link], contact_id string, email_address string, email_client string, email_type string, id
          string, interests {boolean}, ip_opt string, ip_signup string, language string, last_changed time, last_note
          Note, list_id string, location BriefLocation, member_rating integer, merge_fields {{any}}, stats BriefStats,
          status string(subscribed|unsubscribed|cleaned|pending|transactional), tags [Tag], tags_count integer,
          timestamp_opt time, timestamp_signup time, unique_email_id string, vip boolean
        Bulk: _links [Link], error_count integer, errors [BulkError], new_members [BriefMember], total_created integer,
          total_updated integer, updated_members [BriefMember]
        Members: _links [Link], list_id string, members [Member], total_items integer
        ActivityEntry: action string, campaign_id string, parent_campaign string, timestamp time, title string, type
          string, url string
        Activity: _links [Link], activity [ActivityEntry], contact_id string, email_id string, list_id string,
          total_items integer
        TagOfMember: date_added time, id integer, name string
        MemberTagList: _links [Link], tags [TagOfMember], total_items integer
        TagSearch: tags [Tag], total_items integer
        Segments: _links [Link], list_id string, segments [Segment], total_items integer
        SegmentBulkError: email_addresses [string], error string
        SegmentBulk: _links [Link], error_count integer, errors [SegmentBulkError], members_added [BriefMember],
          members_removed [BriefMember], total_added integer, total_removed integer
        SegmentMember: _links [Link], email_address string, email_client string, email_type string, full_name string, id
          string, interests {boolean}, ip_opt string, ip_signup string, language string, last_changed time, last_note
          Note, list_id string, location BriefLocation, member_rating integer, merge_fields {{any}}, stats BriefStats,
          status string(subscribed|unsubscribed|cleaned|pending|transactional), timestamp_opt time, timestamp_signup
          time, unique_email_id string, vip boolean
        SegmentMembers: _links [Link], members [SegmentMember], total_items integer
        Categories: _links [Link], categories [Category], list_id string, total_items integer
        Interests: _links [Link], category_id string, interests [Interest], list_id string, total_items integer
        MergeFields: _links [Link], list_id string, merge_fields [MergeField], total_items integer
        Webhooks: _links [Link], list_id string, total_items integer, webhooks [Webhook]
        Problem: detail! string, instance! string, status! integer, title! string, type! string
        """
}
