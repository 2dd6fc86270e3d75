package tasques.test;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.function.Supplier;

import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.core.CheckedFunction;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.xcontent.NamedXContentRegistry;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentFactory;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xpack.core.ilm.AllocateAction;
import org.elasticsearch.xpack.core.ilm.DeleteAction;
import org.elasticsearch.xpack.core.ilm.ForceMergeAction;
import org.elasticsearch.xpack.core.ilm.LifecycleAction;
import org.elasticsearch.xpack.core.ilm.LifecyclePolicy;
import org.elasticsearch.xpack.core.ilm.LifecycleSettings;
import org.elasticsearch.xpack.core.ilm.LifecycleType;
import org.elasticsearch.xpack.core.ilm.MigrateAction;
import org.elasticsearch.xpack.core.ilm.ReadOnlyAction;
import org.elasticsearch.xpack.core.ilm.RolloverAction;
import org.elasticsearch.xpack.core.ilm.SetPriorityAction;
import org.elasticsearch.xpack.core.ilm.ShrinkAction;
import org.elasticsearch.xpack.core.ilm.TimeseriesLifecycleType;

/**
 * Takes lifecycle policies as a full Elasticsearch does, with its own parser and validation, and
 * knows the settings of indices that name them. Policies are kept in memory and not executed.
 */
public class LifecyclePlugin extends Plugin implements ActionPlugin {
    private record Stored(LifecyclePolicy policy, long version) {}

    private final Map<String, Stored> policies = new TreeMap<>();

    @Override
    public List<Setting<?>> getSettings() {
        return List.of(
            LifecycleSettings.LIFECYCLE_POLL_INTERVAL_SETTING,
            LifecycleSettings.LIFECYCLE_NAME_SETTING,
            LifecycleSettings.LIFECYCLE_INDEXING_COMPLETE_SETTING,
            RolloverAction.LIFECYCLE_ROLLOVER_ALIAS_SETTING
        );
    }

    @Override
    public List<NamedXContentRegistry.Entry> getNamedXContent() {
        List<NamedXContentRegistry.Entry> entries = new ArrayList<>();
        entries.add(
            new NamedXContentRegistry.Entry(
                LifecycleType.class,
                new ParseField(TimeseriesLifecycleType.TYPE),
                parser -> TimeseriesLifecycleType.INSTANCE
            )
        );
        Map<String, CheckedFunction<XContentParser, LifecycleAction, IOException>> actions = Map.of(
            AllocateAction.NAME, AllocateAction::parse,
            DeleteAction.NAME, DeleteAction::parse,
            ForceMergeAction.NAME, ForceMergeAction::parse,
            MigrateAction.NAME, MigrateAction::parse,
            ReadOnlyAction.NAME, ReadOnlyAction::parse,
            RolloverAction.NAME, RolloverAction::parse,
            SetPriorityAction.NAME, SetPriorityAction::parse,
            ShrinkAction.NAME, ShrinkAction::parse
        );
        actions.forEach(
            (name, parse) -> entries.add(
                new NamedXContentRegistry.Entry(LifecycleAction.class, new ParseField(name), parse)
            )
        );
        return entries;
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
        Settings settings,
        NamedWriteableRegistry namedWriteables,
        RestController controller,
        ClusterSettings clusterSettings,
        IndexScopedSettings indexSettings,
        SettingsFilter filter,
        IndexNameExpressionResolver resolver,
        Supplier<DiscoveryNodes> nodes,
        Predicate<NodeFeature> features
    ) {
        return List.of(new PolicyHandler());
    }

    private final class PolicyHandler extends BaseRestHandler {
        private static final String PATH = "/_ilm/policy/{name}";

        @Override
        public String getName() {
            return "tasques_test_lifecycle_policy";
        }

        @Override
        public List<Route> routes() {
            return List.of(
                new Route(RestRequest.Method.GET, PATH),
                new Route(RestRequest.Method.PUT, PATH),
                new Route(RestRequest.Method.DELETE, PATH)
            );
        }

        @Override
        protected Set<String> responseParams() {
            return Set.of("master_timeout", "timeout");
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client)
            throws IOException {
            String name = request.param("name");
            RestResponse response = switch (request.method()) {
                case PUT -> put(name, read(name, request));
                case DELETE -> delete(name);
                default -> get(name);
            };
            return channel -> channel.sendResponse(response);
        }
    }

    private static LifecyclePolicy read(String name, RestRequest request) throws IOException {
        try (XContentParser parser = request.contentParser()) {
            parser.nextToken();
            if ("policy".equals(parser.nextFieldName()) == false) {
                throw new IllegalArgumentException("expected a member [policy]");
            }
            parser.nextToken();
            LifecyclePolicy policy = LifecyclePolicy.parse(parser, name);
            LifecyclePolicy.validatePolicyName(name);
            policy.validate();
            return policy;
        }
    }

    private synchronized RestResponse put(String name, LifecyclePolicy policy) throws IOException {
        Stored before = policies.get(name);
        if (before == null || before.policy().equals(policy) == false) {
            policies.put(name, new Stored(policy, before == null ? 1 : before.version() + 1));
        }
        return acknowledged();
    }

    private synchronized RestResponse delete(String name) throws IOException {
        return policies.remove(name) == null ? missing(name) : acknowledged();
    }

    private synchronized RestResponse get(String name) throws IOException {
        Stored stored = policies.get(name);
        if (stored == null) {
            return missing(name);
        }
        XContentBuilder json = XContentFactory.jsonBuilder().startObject().startObject(name);
        json.field("version", stored.version()).field("policy", stored.policy());
        return new RestResponse(RestStatus.OK, json.endObject().endObject());
    }

    private static RestResponse acknowledged() throws IOException {
        XContentBuilder json = XContentFactory.jsonBuilder().startObject();
        return new RestResponse(RestStatus.OK, json.field("acknowledged", true).endObject());
    }

    private static RestResponse missing(String name) throws IOException {
        XContentBuilder json = XContentFactory.jsonBuilder().startObject().startObject("error");
        json.field("type", "resource_not_found_exception");
        json.field("reason", "Lifecycle policy not found: " + name);
        return new RestResponse(RestStatus.NOT_FOUND, json.endObject().endObject());
    }
}
