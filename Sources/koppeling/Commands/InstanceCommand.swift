import ArgumentParser
import Connector
import Postgres

/// `koppeling instance`: the links between lists and target groups.
struct InstanceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "instance", abstract: "Link lists, turn the links on and off, read lists again.",
        subcommands: [
            Link.self, List.self, Status.self, Enable.self, Disable.self, Pull.self, Template.self, Restored.self,
            DryRun.self, ReactivateOnResubscribe.self, KeepAdopted.self, Relink.self,
        ])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List the instances with how they are.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select * from koppeling.instance_status order by instance limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Restored: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List whose no a call of ours went over unawares, and when it was restored; the newest first.")

        @OptionGroup var listing: ListingOptions

        func run() async throws {
            try await Runtime.with { runtime in
                try await Listing.show(
                    """
                    \(unsafe: Listing.open)
                    select * from koppeling.restored_nos order by id desc limit \(listing.limit)
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: listing.json)
            }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how an instance is: its flags, its work, and the calls that its account's login may make.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Flag(help: "One JSON object instead of lines.")
        var json = false

        func run() async throws {
            try await LinkServices.with { runtime, services in
                let id = try await services.instances.find(instance).id
                try await Listing.showOne(
                    """
                    \(unsafe: Listing.open)
                    select s.*, (
                        select jsonb_object_agg(t.action, case when t.automatic then 'automatic' else 'manual' end)
                        from koppeling.action_template t where t.instance_id = s.id) as templates
                    from koppeling.instance_status s where s.id = \(id)::bigint
                    \(unsafe: Listing.close)
                    """, from: runtime.pool, json: json)
            }
        }
    }

    struct Enable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Turn an instance on, also after it paused itself; it reads the list before it sends anything.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        func run() async throws {
            try await LinkServices.with {
                try await $1.instances.setEnabled(true, instance: instance, actor: $0.actor)
            }
        }
    }

    struct Disable: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Turn an instance off; its actions wait.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        func run() async throws {
            try await LinkServices.with {
                try await $1.instances.setEnabled(false, instance: instance, actor: $0.actor)
            }
        }
    }

    struct Template: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let the actions of a template run by themselves, or wait until somebody runs them.",
            discussion: "What waits already keeps its mode. `koppeling action run` runs what waits.")

        @Argument(help: "The instance's name or number.")
        var instance: String

        @Argument(help: "create, update or delete.")
        var template: String

        @Argument(help: "automatic or manual; removed, while the instance is off.")
        var mode: Mode

        enum Mode: String, ExpressibleByArgument, CaseIterable { case automatic, manual, removed }

        func run() async throws {
            try await LinkServices.with { runtime, services in
                if mode == .removed {
                    try await services.instances.removeTemplate(template, instance: instance, actor: runtime.actor)
                } else {
                    try await services.instances.setAutomatic(
                        mode == .automatic, template: template, instance: instance, actor: runtime.actor)
                }
            }
        }
    }
}
